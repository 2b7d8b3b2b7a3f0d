"""Retention: how much of what a unit stores survives from one step to another.

T  time steps      B  sequences      n  units of a state      K  lags
m  units of a share: fewer than n where it is the same along some axes of the state
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.analysis.memory import retention as retained_share
from gatework.lang.definition import Cell, check_known
from gatework.lang.expressions import Expr
from gatework.lens.axes import Lengths, axis_lengths, mean_along, spread
from gatework.lens.drawing import (
    Plot,
    canvas,
    finished,
    in_style,
    line_name,
    name_lines,
    short_names,
    styled,
)
from gatework.lens.measurement import Arrays, Measurement, axes
from gatework.lens.measuring import (
    Progress,
    Run,
    check_reading,
    check_weights,
    measure,
    run_on,
    state_values,
)
from gatework.lens.watching import Reading, in_eval_mode, watch

__all__ = [
    "LAGS",
    "KeptShares",
    "Retention",
    "RetentionMeter",
    "draw_retentions",
    "kept_shares",
    "retention",
]

LAGS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)
"""Lags at which survival is measured when none are given, in steps."""

PREFIX = "retention."


@dataclass(frozen=True, eq=False)
class Retention(Measurement):
    """How much of a stored value survives, unit by unit, for each state.

    The share of a state s that a step keeps is a_t = ∂s_t/∂s_{t−1} unit by unit, through no matrix:
    the LSTM's forget gate for c, the GRU's update gate for h, whatever multiplies the state in the
    cell's equations (`gatework.analysis.memory.retention` finds it for any cell). From time t−k to
    time t there survives

        survival(k) = mean over t of a_t · a_{t−1} · … · a_{t−k+1}

    which is how error flows along an LSTM's memory (Gers, Schmidhuber & Cummins 2000, section 3).
    The time constant τ = −1 / ln(mean a), in steps, is the time in which a stored value falls to
    1/e where the gate stays at its mean (Mahto et al. 2021, "Multi-timescale representation
    learning in LSTM language models", eq. 2). Shares are without unit; they lie between 0 and 1
    for a gate, elsewhere they may be negative or above 1. What a step takes by way of a sum, as
    the delta rule does, is not counted. Shares over several steps are multiplied at one place,
    also where a step puts units into others.

    Attributes:
        steps: how many steps were read, over all sequences.
        lags: the lags k, in steps.
        mean: of each state by full name, the mean share that a step keeps.
        survival: of each state, the mean share that is left after k steps; NaN where no sequence
            is longer than the lag.
        lengths: of each state with axes, how long they are, by name; the last is the fastest.
    """

    steps: int
    lags: NDArray[np.int64] = field(metadata=axes("lag"))
    mean: Arrays = field(metadata=axes("unit"))
    survival: Arrays = field(metadata=axes("lag", "unit"))
    lengths: Mapping[str, Lengths] = field(default_factory=dict)

    @property
    def keeping(self) -> tuple[str, ...]:
        """The states of which a step keeps anything: not an LSTM's `h`, which is written anew."""
        return tuple(name for name, share in self.mean.items() if share.any())

    def time_constant(self, state: str) -> NDArray[np.float64]:
        """τ of each unit of a state, in steps: 0 where nothing is kept, inf where all is."""
        check_known("state", [state], self.mean, "the measurement")
        kept = np.clip(np.abs(self.mean[state]), 0.0, 1.0)
        with np.errstate(divide="ignore"):
            return np.asarray(-1.0 / np.log(kept)) + 0.0

    def along(self, *kept: str) -> Retention:
        """The same for each place on some axes, such as each head: the mean over its units.

        Args:
            kept: names of axes; a state that lacks one of them is left out.

        Raises:
            ValueError: no state has these axes.

        Example:
            >>> import torch, gatework as gw
            >>> layer = gw.nn.Recurrent(gw.cells.gated_delta_net, 8, head=2, key=3, value=4)
            >>> found = gw.lens.retention(layer, [torch.randn(20, 3, 8)]).along("head")
            >>> found.mean["l0.S"].shape, found.time_constant("l0.S").argmax() in (0, 1)
            ((2,), True)
        """
        return mean_along(self, kept)

    def plot(self) -> Plot:
        """Draw what is left of a stored value against lag, a line and a band for each state."""
        return draw_retentions({"": self})


def retention(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    lags: Sequence[int] = LAGS,
    run: Run | None = None,
    progress: Progress | None = None,
) -> Retention:
    """Measure how long each unit keeps what it stores. See `Retention` for the definition.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batches: what the model is called with, one by one; read once. A lag is measured inside
            batches, so they should have more steps than the longest.
        lags: over how many steps survival is measured.
        run: how the model is run on a batch. To carry a state, see `carry_state`.
        progress: told after each batch how many steps have been read so far.

    Raises:
        ValueError: there is no batch, a lag is below 1, or the model has no recurrent layer.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> with torch.no_grad():
        ...     _ = layer.bias_ih_l0[8:16].fill_(20.0)  # the forget gate's bias
        >>> found = gw.lens.retention(layer, [torch.randn(20, 3, 4)], lags=[1, 10])
        >>> found.survival["l0.c"].round(3).min().item()
        1.0
    """
    (found,) = measure(model, batches, RetentionMeter(lags), run=run, progress=progress)
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class KeptShares(Measurement):
    """The share of each state that every step of one batch keeps; see `Retention`.

    Attributes:
        shares: of each state by full name, ∂s_t/∂s_{t−1} unit by unit, without unit.
        lengths: of each state with axes, how long they are, by name; the last is the fastest.
    """

    shares: Arrays = field(metadata=axes("step", "sequence", "unit"))
    lengths: Mapping[str, Lengths] = field(default_factory=dict)

    def between(self, state: str, start: int, end: int) -> NDArray[np.float64]:
        """How much of what a state held after step `start` is left after step `end`, [B, n].

        In the reverse direction of a layer `end` comes before `start`.

        Raises:
            ValueError: there is no such state, or no way from the one step to the other.

        Example:
            >>> import torch, gatework as gw
            >>> found = gw.lens.kept_shares(gw.nn.LSTM(4, 8), torch.randn(20, 3, 4))
            >>> found.between("l0.c", 5, 5).min().item()
            1.0
            >>> bool((found.between("l0.c", 5, 9) < found.between("l0.c", 5, 8)).all())
            True
        """
        check_known("state", [state], self.shares, "the measurement")
        shares = self.shares[state]
        if _is_reverse(state):
            shares, start, end = shares[::-1], len(shares) - 1 - start, len(shares) - 1 - end
        if not 0 <= start <= end < len(shares):
            raise ValueError(
                f"{state} has no way from step {start} to step {end}; expected "
                f"0 ≤ start ≤ end < {len(shares)} in the order in which its steps are made"
            )
        return np.asarray(shares[start + 1 : end + 1].prod(0))

    def along(self, *kept: str) -> KeptShares:
        """The same for each place on some axes, such as each head: the mean over its units.

        Args:
            kept: names of axes; a state that lacks one of them is left out.

        Raises:
            ValueError: no state has these axes.
        """
        return mean_along(self, kept)


def kept_shares(model: nn.Module, batch: Any, *, run: Run | None = None) -> KeptShares:
    """Find what every step of one batch keeps of each state. See `KeptShares`.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batch: what the model is called with.
        run: how the model is run on it.

    Raises:
        ValueError: the model has no recurrent layer or does not call it, or a share is not finite.
    """
    run = run or run_on
    check_weights(model)
    with in_eval_mode(model), torch.no_grad(), watch(model, _shares_and_states) as readings:
        run(model, batch)
    for reading in readings:
        check_reading(reading)
    shares = {
        state: by_unit(kept).double().cpu().numpy()
        for reading in readings
        for state, kept, by_unit, _ in _shares(reading)
    }
    if not shares:
        raise ValueError("the model ran without calling any of its recurrent layers")
    lengths = {s: own for reading in readings for s, _, _, own in _shares(reading) if own}
    return KeptShares(shares, lengths)


def retention_values(cell: Cell) -> dict[str, Expr]:
    """The share of each state that a step keeps, named so that it may be traced."""
    return {f"{PREFIX}{name}": value for name, value in retained_share(cell).items()}


def _shares_and_states(cell: Cell) -> dict[str, Expr]:
    return {**state_values(cell), **retention_values(cell)}


def _is_reverse(state: str) -> bool:
    return state.rpartition(".")[0].endswith("_reverse")


Shares = tuple[str, Tensor, Callable[[Tensor], Tensor], Lengths]
"""A state's full name; the share that every step keeps of it, [T, B, m] where it is the same along
some axes; what repeats that for its units; the lengths of its axes."""


def _shares(reading: Reading) -> Iterator[Shares]:
    """The share that every step keeps of each state.

    A step that begins an episode keeps nothing; backward in time that is the step before.
    """
    sizes, cell = reading.sizes(), reading.layer.cell
    for name, kept in reading.values().items():
        if f".{PREFIX}" not in name:  # what another meter asked for
            continue
        state = name.replace(f".{PREFIX}", ".")
        place, _, own = state.rpartition(".")
        size, whole = reading.trace.sizes[f"{PREFIX}{own}"], cell.names[own].size
        if reading.begins is not None:
            begins = reading.begins.bool()
            if _is_reverse(state):
                begins = torch.cat([begins[1:], begins.new_zeros(1, begins.shape[1])])
            kept = kept.masked_fill(begins.unsqueeze(-1), 0.0)
        kept = kept if kept.dtype == torch.float64 else kept.float()
        by_unit = partial(spread, size=size, whole=whole, sizes=sizes[place])
        yield state, kept, by_unit, axis_lengths(whole, sizes[place])


@dataclass
class _Sums:
    """Sums over steps of one state: of the kept share, and of its products over each lag."""

    steps: int
    kept: Any
    pairs: NDArray[np.int64]
    survived: Any


def _is_lag(lag: Any) -> bool:
    return isinstance(lag, Real) and float(lag) >= 1 and float(lag).is_integer()


class RetentionMeter:
    """Sums as batches come. See `gatework.lens.measure`.

    Args:
        lags: over how many steps survival is measured.
    """

    def __init__(self, lags: Sequence[int] = LAGS) -> None:
        if not isinstance(lags, Iterable) or not all(_is_lag(lag) for lag in lags):
            raise ValueError(f"lags = {lags}; expected whole numbers of steps, 1 or more: [1, 10]")
        self.lags = sorted({int(lag) for lag in lags})
        if not self.lags:
            raise ValueError("lags is empty; expected at least one")
        self._sums: dict[str, _Sums] = {}
        self._by_unit: dict[str, Callable[[Tensor], Tensor]] = {}
        self._lengths: dict[str, Lengths] = {}

    def wanted(self, cell: Cell) -> dict[str, Expr]:
        """The share of each state that a step keeps."""
        return retention_values(cell)

    def add(self, reading: Reading, batch: Any, number: int) -> None:
        """Add up one call."""
        for state, kept, by_unit, lengths in _shares(reading):
            self._by_unit[state], inside = by_unit, reading.inside
            if lengths:
                self._lengths[state] = lengths
            if _is_reverse(state):  # that direction's past is the later step
                kept, inside = kept.flip(0), inside if inside is None else inside.flip(0)
            sums, before = self._of(kept, inside), self._sums.get(state)
            self._sums[state] = sums if before is None else _added(before, sums)

    def _of(self, kept: Tensor, inside: Tensor | None) -> _Sums:
        """The sums of one call."""
        units = kept.shape[-1]
        products: dict[int, Tensor] = {1: kept}
        pairs, survived = [], []
        for lag in self.lags:
            if lag > len(kept):
                pairs.append(0)
                survived.append(np.zeros(units))
                continue
            left = self._over(lag, products)  # [T − lag + 1, B, n]
            if inside is not None:  # both ends of the way belong to the sequence
                left = left[inside[: len(left)] & inside[lag - 1 :]]
            left = left.reshape(-1, units)
            pairs.append(len(left))
            survived.append(left.sum(0).double().cpu().numpy())
        rows = kept.reshape(-1, units) if inside is None else kept[inside]
        total = rows.sum(0).double().cpu().numpy()
        return _Sums(len(rows), total, np.array(pairs), np.stack(survived))

    def _over(self, lag: int, products: dict[int, Tensor]) -> Tensor:
        """The product of every `lag` consecutive shares, [T − lag + 1, B, n]."""
        if lag not in products:
            known = max(k for k in products if k < lag)
            first = max(known, (lag + 1) // 2)
            a, b = self._over(first, products), self._over(lag - first, products)
            products[lag] = a[: len(b) - first] * b[first:] if len(b) > first else b[:0]
        return products[lag]

    def result(self) -> Retention:
        """The means of all steps."""
        with np.errstate(invalid="ignore"):
            survival = {n: s.survived / s.pairs[:, None] for n, s in self._sums.items()}
        return Retention(
            steps=max(s.steps for s in self._sums.values()),
            lags=np.array(self.lags),
            mean={n: self._of_units(n, s.kept / s.steps) for n, s in self._sums.items()},
            survival={n: self._of_units(n, left) for n, left in survival.items()},
            lengths=self._lengths,
        )

    def _of_units(self, state: str, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares [..., m] of each unit, [..., n]."""
        return np.asarray(self._by_unit[state](torch.from_numpy(shares)).numpy())


def _added(a: _Sums, b: _Sums) -> _Sums:
    return _Sums(a.steps + b.steps, a.kept + b.kept, a.pairs + b.pairs, a.survived + b.survived)


@in_style
def draw_retentions(retentions: Mapping[str, Retention]) -> Plot:
    """Draw what is left of a stored value: the median unit, and the band from 10 to 90 % of them.

    Args:
        retentions: by the name of the model; a line for each of its states that keeps something.
    """
    lines = {
        line_name(name, short): (found.lags, found.survival[state])
        for name, found in retentions.items()
        for state, short in short_names(found.survival).items()
        if state in found.keeping
    }
    figure, ax = canvas(6.0, 4.0)
    for (name, (lags, survival)), style in styled(lines):
        low, middle, high = np.quantile(survival, [0.1, 0.5, 0.9], axis=1)
        ax.plot(lags, middle, label=name, **style)
        ax.fill_between(lags, low, high, color=style["color"], alpha=0.2, linewidth=0)
    ax.set_xscale("log")
    ax.set_xlabel("k, steps later")
    ax.set_ylabel("share of a stored value that is left")
    if lines:
        name_lines(ax)
    return finished(figure, "retentions")
