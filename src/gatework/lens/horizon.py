"""How far back a recurrent network remembers, measured.

T  time steps      B  sequences      I  input size      n  units
t  the time looked back from         k  lag, steps back from t         K  longest lag
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.lang.definition import check_known
from gatework.lens.arguments import check_functions, check_whole
from gatework.lens.axes import parts_along
from gatework.lens.drawing import LEAST_DRAWN, Plot, canvas, finished, in_style, name_lines, styled
from gatework.lens.measurement import Arrays, Measurement, axes
from gatework.lens.measuring import (
    Progress,
    Run,
    check_finite,
    check_weights,
    last_step,
    run_on,
    state_values,
)
from gatework.lens.watching import check_batches, in_eval_mode, recurrent_layers, watch
from gatework.nn import Recurrent

__all__ = ["MemoryHorizon", "draw_horizons", "memory_horizon"]

RESAMPLES = 400
"""Bootstrap resamples behind a band."""


@dataclass(frozen=True, eq=False)
class MemoryHorizon(Measurement):
    """Influence of the input k steps back on the output and on the states, sequence by sequence.

    At the last time t of each sequence, with J_k = ∂y_t/∂x_{t−k} and the Frobenius norm,

        influence(k) = mean over sequences of ‖J_k‖

    which is the quantity whose decay makes learning long dependencies hard (Bengio, Simard &
    Frasconi 1994, section III; Pascanu, Mikolov & Bengio 2013, section 2), in units of y per unit
    of x. x is what the model's first recurrent layer reads.

    Attributes:
        influence: entry [n, k] estimates ‖J_k‖ in sequence n, where y is the output.
        states: the same where y is a state, by the state's full name, such as "layer.l0.c"; where
            y is a part of it, at one place on an axis, by "layer.l0.S[head 2]".
        runs: the training run on which each sequence was measured, numbered from 0; all on one
            when not given. See `of_runs`.
    """

    influence: NDArray[np.float64] = field(metadata=axes("sequence", "lag"))
    states: Arrays = field(metadata=axes("sequence", "lag"), default_factory=dict)
    runs: NDArray[np.int64] = field(
        metadata=axes("sequence"), default_factory=lambda: np.zeros(0, np.int64)
    )

    def __post_init__(self) -> None:
        if not len(self.runs):
            object.__setattr__(self, "runs", np.zeros(len(self.influence), np.int64))
        super().__post_init__()

    @classmethod
    def of_runs(cls, horizons: Sequence[MemoryHorizon]) -> MemoryHorizon:
        """Join the horizons of models that were trained alike, from different seeds.

        The mean is then the mean over the runs, and the band holds where it would lie for other
        seeds and other sequences.

        Example:
            >>> import numpy as np
            >>> parts = [MemoryHorizon(np.ones((5, 11))) for seed in range(3)]
            >>> MemoryHorizon.of_runs(parts).runs.tolist()
            [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
        """
        if not horizons:
            raise ValueError("there is no horizon to join; expected at least one")
        names = set.intersection(*(set(h.states) for h in horizons))
        return cls(
            influence=np.concatenate([h.influence for h in horizons]),
            states={n: np.concatenate([h.states[n] for h in horizons]) for n in sorted(names)},
            runs=np.repeat(np.arange(len(horizons)), [len(h.influence) for h in horizons]),
        )

    def of_state(self, name: str) -> MemoryHorizon:
        """The horizon of a state, such as "layer.l0.c", in place of that of the output."""
        check_known("state", [name], self.states, "the measurement")
        return replace(self, influence=self.states[name], states={})

    @property
    def lags(self) -> NDArray[np.int64]:
        """The lags 0 … K, in time steps."""
        return np.arange(self.influence.shape[1])

    def mean(self) -> NDArray[np.float64]:
        """Return the mean influence at each lag as a share of the largest, [K+1].

        The largest is that of the newest input, k = 0, unless the model has learnt to wait.
        """
        return _mean_share([self.influence[self.runs == run] for run in np.unique(self.runs)])

    def band(self, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the mean would lie on other text of this kind: lower and upper, [K+1] each.

        Percentile bootstrap over the sequences (Efron & Tibshirani 1993, chapter 13); with several
        runs over the runs and, within each drawn, over its sequences (Davison & Hinkley 1997,
        section 3.8).
        """
        outside = (1 - confidence) / 2
        low, high = np.quantile(self._resampled(), [outside, 1 - outside], axis=0)
        return low, high

    def reach(self, share: float = 0.01) -> int:
        """Return the first lag from which on the mean influence stays below `share` of the largest.

        K+1 where it does not within the lags measured.
        """
        return _reach(self.mean(), share)

    def reach_band(self, share: float = 0.01, confidence: float = 0.95) -> tuple[int, int]:
        """Return the band of `reach`, from the same resamples as `band`."""
        outside = (1 - confidence) / 2
        reaches = [_reach(mean, share) for mean in self._resampled()]
        low, high = np.quantile(reaches, [outside, 1 - outside], method="nearest")
        return int(low), int(high)

    def plot(self) -> Plot:
        """Draw influence against lag, with its band."""
        return draw_horizons({"output": self}, "steps")

    def _resampled(self) -> NDArray[np.float64]:
        """Return the mean of each bootstrap resample, [RESAMPLES, K+1]."""
        random = np.random.default_rng(0)
        runs = [self.influence[self.runs == run] for run in np.unique(self.runs)]

        def resample() -> NDArray[np.float64]:
            drawn = [runs[i] for i in random.integers(len(runs), size=len(runs))]
            return _mean_share([run[random.integers(len(run), size=len(run))] for run in drawn])

        return np.stack([resample() for _ in range(RESAMPLES)])


def memory_horizon(
    model: Callable[..., Any],
    batches: Iterable[Any],
    max_lag: int,
    *,
    probes: int = 4,
    seed: int = 0,
    rows: Callable[[Any], Tensor] | None = None,
    run: Run | None = None,
    axis: str | None = None,
    progress: Progress | None = None,
) -> MemoryHorizon:
    """Measure how strongly the output and the states depend on the input k steps before.

    See `MemoryHorizon` for the definition. J_k has n · I entries for each lag and sequence, so its
    norm is estimated instead: for a vector v of independent signs ±1, E‖vᵀJ_k‖² = ‖J_k‖²
    (Hutchinson 1990), and one backward pass from v gives vᵀJ_k for all lags and sequences at once.
    Each sequence's estimate is the square root of the mean over `probes` such vectors, which are
    orthogonal to each other (Bekas, Kokiopoulou & Saad 2007), so that as many as the next power of
    two above n give the norm exactly. A square root of a mean is a little low: with four probes at
    most 6 %, for a J_k of rank one.

    Args:
        model: any module that holds recurrent layers of Gatework, with no dependence between
            sequences; run in eval mode. Or a function from [T, B, I] to ([T, B, n], state), of
            which the influence on the output alone is measured.
        batches: what the model is called with, on held-out data, in sequences of T > `max_lag`
            steps. The T − `max_lag` − 1 first steps are not measured, they let the state settle.
            Read one by one.
        max_lag: K, in time steps.
        probes: random vectors per sequence; a backward pass for each and each state.
        seed: of the random vectors.
        rows: picks from what the model returns the rows [B, n], or [B], that are looked back from;
            the last step of the output when not given.
        run: how the model is run on a batch; without a state of the batch before.
        axis: the name of an axis, such as "head": each place on it of a state that has it is looked
            back from as well.
        progress: told after each batch how many steps have been read so far.

    Returns:
        The influence for every sequence and lag.

    Raises:
        ValueError: a batch is too short, there is none, or values or gradients are not finite.

    Example:
        >>> layer = torch.nn.LSTM(8, 16)
        >>> horizon = memory_horizon(layer, [torch.randn(101, 32, 8)], max_lag=100)
        >>> horizon.reach(0.01) < 50  # untrained, it forgets soon
        True
    """
    check_whole(max_lag=max_lag, probes=probes)
    check_functions(model=model, rows=rows, run=run)
    if axis is not None:
        _check_axis(axis, model)
    if max_lag < 0 or probes < 1:
        raise ValueError(
            f"max_lag = {max_lag} and probes = {probes}; expected at least 0 steps and 1 probe"
        )
    check_batches(batches)
    generator = torch.Generator().manual_seed(seed)
    look: Any = _look_through
    if _has_layers(model):
        look = partial(_look_inside, axis=axis)
        check_weights(model)  # type: ignore[arg-type]
    rows = rows or (lambda result: last_step(model, result))
    parts: list[dict[str, NDArray[np.float64]]] = []
    steps = 0
    with in_eval_mode(model) if isinstance(model, nn.Module) else nullcontext():
        for batch in batches:
            looked = look(model, batch, rows, run or run_on)
            given = looked.time_first(looked.source)
            _check_steps(given, max_lag)
            if not given.shape[1]:
                continue
            check_finite("the input", looked.source)
            for name, target in looked.targets.items():
                check_finite(name or "the output", target)
            squares = {n: looked.squares(n, probes, generator) for n in looked.targets}  # [T, B]
            for name, square in squares.items():
                check_finite(f"the gradient of {name or 'the output'}", square)
            by_lag = {n: s.flip(0)[: max_lag + 1] for n, s in squares.items()}  # [K+1, B]
            parts.append({n: s.sqrt().T.numpy() for n, s in by_lag.items()})
            steps += given.shape[0] * given.shape[1]
            if progress is not None:
                progress(steps)
    if not steps:
        raise ValueError("batches is empty, or has no steps; expected at least one [T, B, I]")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return MemoryHorizon(joined.pop(""), joined)


@dataclass(frozen=True, eq=False)
class _Looked:
    """One batch, run: what is looked back from, and to.

    Attributes:
        source: the input of the first recurrent layer, as it was given.
        time_first: lays out values that come as the source does as [T, B, I].
        targets: by name the rows [B, n] that are looked back from; "" is the output.
    """

    source: Tensor
    time_first: Callable[[Tensor], Tensor]
    targets: dict[str, Tensor]

    def squares(self, name: str, probes: int, generator: torch.Generator) -> Tensor:
        """Estimate ‖∂ rows / ∂ x_t‖² for each time and sequence, float64 [T, B]."""
        batch = self.time_first(self.source).shape[1]
        rows = self.targets[name].reshape(batch, -1)
        total = torch.zeros(self.time_first(self.source).shape[:2], dtype=torch.float64)
        wanted = probes if rows.requires_grad else 0
        vectors = _signs(wanted, len(rows), rows.shape[1], generator)
        for signs in vectors:
            (gradient,) = torch.autograd.grad(
                rows, self.source, signs.to(rows), retain_graph=True, materialize_grads=True
            )
            total += self.time_first(gradient).double().square().sum(2).cpu()  # vᵀJ at each time
        return total / max(len(vectors), 1)


def _signs(probes: int, batch: int, units: int, generator: torch.Generator) -> Tensor:
    """Random vectors of signs that are orthogonal to each other, [probes, B, n].

    Random rows of a Hadamard matrix, whose columns change sign at random in each sequence. When
    all its rows are drawn, the mean of ‖vᵀJ‖² over them is ‖J‖² exactly. Its entry (i, j) is −1
    where i and j have an odd number of ones in common, as binary numbers (Sylvester 1867).
    """
    digits = max(units - 1, 0).bit_length()
    rows = torch.randperm(1 << digits, generator=generator)[:probes]
    common = rows[:, None] & torch.arange(units)
    odd = sum((common >> k & 1 for k in range(digits)), torch.zeros_like(common)) % 2
    chosen = 1.0 - 2.0 * odd
    flips = torch.randint(2, (batch, units), generator=generator) * 2 - 1
    return chosen[:, None] * flips


def _has_layers(model: Any) -> bool:
    return isinstance(model, nn.Module) and any(isinstance(m, Recurrent) for m in model.modules())


def _look_through(model: Any, batch: Tensor, rows: Callable[[Any], Tensor], run: Run) -> _Looked:
    """Look back from the output of a function to its input."""
    if not isinstance(batch, Tensor):
        raise TypeError(f"a function is measured on tensors, got a batch of {type(batch).__name__}")
    source = batch.detach().requires_grad_()
    return _Looked(source, lambda values: values, {"": rows(run(model, source))})


def _look_inside(
    model: nn.Module, batch: Any, rows: Callable[[Any], Tensor], run: Run, axis: str | None = None
) -> _Looked:
    """Look back from the output and the states of a model to what its first layer reads."""
    with (
        _input_caught(model) as caught,
        watch(model, state_values) as readings,
        torch.enable_grad(),
    ):
        result = run(model, batch)
    if not caught:
        raise ValueError("the model ran on a batch without calling any of its recurrent layers")
    (given,) = caught
    states = {name: v[-1] for reading in readings for name, v in reading.values().items()}
    lengths = {name: own for reading in readings for name, own in reading.lengths().items()}
    parts = {
        f"{name}[{axis} {k}]": part
        for name, own in lengths.items()
        if axis in own
        for k, part in enumerate(parts_along(states[name], own, axis))
    }
    return _Looked(given, readings[0].time_first, {"": rows(result), **states, **parts})


def _check_axis(axis: str, model: Any) -> None:
    """Raise unless a state of a model has the axis."""
    layers = recurrent_layers(model) if isinstance(model, nn.Module) else {}
    have = {a: None for layer in layers.values() for a in layer.cell.axis_names()}
    check_known("axis", [axis], list(have), "the model")


@contextmanager
def _input_caught(model: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, the first call's input of a recurrent layer is cut from its history, and listed."""
    caught: list[Tensor] = []

    def catch(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if caught:
            return None
        (given, *others) = args or (kwargs.pop("input"),)
        if not isinstance(given, Tensor):
            raise TypeError(
                f"the first recurrent layer is given a {type(given).__name__}; expected a tensor: "
                "sequences of one length, not packed"
            )
        caught.append(given.detach().requires_grad_())
        return (caught[0], *others), kwargs

    hooks = [
        layer.register_forward_pre_hook(catch, with_kwargs=True)
        for layer in recurrent_layers(model).values()
    ]
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def _check_steps(source: Tensor, max_lag: int) -> None:
    if len(source) <= max_lag:
        raise ValueError(
            f"a batch has {len(source)} time steps; expected more than max_lag = {max_lag}; "
            "give longer sequences or a smaller max_lag"
        )


def _mean_share(runs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean over runs of each one's mean influence, as a share of its largest."""
    means = [run.mean(0) for run in runs]
    return np.mean([mean / (mean.max() or 1.0) for mean in means], axis=0)  # type: ignore[no-any-return]


def _reach(mean: NDArray[np.float64], share: float) -> int:
    if not np.isfinite(mean).all():
        raise ValueError("the influence is not finite at some lags, so there is no reach")
    above = np.flatnonzero(mean >= share)
    return int(above[-1]) + 1 if len(above) else 0


@in_style
def draw_horizons(horizons: Mapping[str, MemoryHorizon], step: str = "bytes") -> Plot:
    """Draw influence against lag with its band on a logarithmic axis, a line per name."""
    figure, ax = canvas(6.0, 4.2)
    for (name, horizon), style in styled(horizons):
        ax.plot(horizon.lags, horizon.mean(), label=name, **style)
        low, high = horizon.band()
        ax.fill_between(horizon.lags, low, high, color=style["color"], alpha=0.25, linewidth=0)
    if any(horizon.mean().any() for horizon in horizons.values()):  # else all lie on the ground
        ax.set_yscale("log")
    lowest = min(float(horizon.mean().min()) for horizon in horizons.values())
    ax.set_ylim(max(lowest, LEAST_DRAWN) / 2, 3)
    ax.set_xlabel(f"k, {step} back")
    ax.set_ylabel("influence, share of that at k = 0")
    name_lines(ax)
    return finished(figure, "horizons")
