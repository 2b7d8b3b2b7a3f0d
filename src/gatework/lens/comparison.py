"""Two models, or two checkpoints of one, side by side on the same data.

N  steps read, over all sequences      n, m  units of a value in the one and the other model
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.analysis.gates import named_gates
from gatework.lang.definition import Cell
from gatework.lang.expressions import Expr
from gatework.lens.measurement import Arrays, Measurement, axes
from gatework.lens.measuring import (
    Progress,
    Run,
    Scatter,
    check_reading,
    check_weights,
    ratio,
    run_on,
    state_values,
)
from gatework.lens.watching import check_batches, in_eval_mode, watch

__all__ = ["Comparison", "compare"]


MOST_UNITS = 1_024
"""Units of which every pair is looked at."""


@dataclass(frozen=True, eq=False)
class Comparison(Measurement):
    """How alike two models are inside, value by value, where both have one of the same name.

    Similarity is linear centred kernel alignment, ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of the centred values X
    [N, n] and Y [N, m] in Frobenius norms (Kornblith et al. 2019, "Similarity of neural network
    representations revisited", section 2.3 and eq. 3): 1 where one is a rotation of the other, 0
    where no unit of the one is correlated with any of the other. Without unit. Of values of more
    than 1,024 units it is estimated, to some per cent, from that many random projections of them.

    Attributes:
        steps: N.
        similarity: of each state and gate that both have, by full name, a single number.
        correlation: where both have as many units, Pearson's r of each unit with its namesake; 0
            where one never moves.
        mean: where both have as many units, each unit's mean in the first and in the second model.
        weights: of each parameter of the same name and shape, ‖second − first‖ / ‖first‖.
    """

    steps: int
    similarity: Arrays = field(metadata=axes())
    correlation: Arrays = field(metadata=axes("unit"))
    mean: Arrays = field(metadata=axes("model", "unit"))
    weights: Arrays = field(metadata=axes())


def compare(
    first: nn.Module,
    second: nn.Module,
    batches: Iterable[Any],
    *,
    runs: tuple[Run, Run] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models, or two checkpoints of one, on the same data. See `Comparison`.

    Args:
        first: any module that holds recurrent layers of Gatework; run in eval mode.
        second: another; its layers may have other sizes and cells.
        batches: what each model is called with, one by one; read once.
        runs: how each model is run on a batch. To carry a state, `(carry_state(), carry_state())`:
            one for each, for each has a state of its own.
        progress: told after each batch how many steps have been read so far.

    Raises:
        ValueError: there is no batch, the models have no value of the same name, or a value is not
            finite.

    Example:
        >>> import torch, gatework as gw
        >>> first, second = gw.nn.LSTM(4, 8), gw.nn.GRU(4, 16)
        >>> found = gw.lens.compare(first, second, [torch.randn(50, 4, 4)])
        >>> list(found.similarity)
        ['l0.h']
        >>> same = gw.lens.compare(first, first, [torch.randn(50, 4, 4)])
        >>> round(same.similarity["l0.c"].item(), 6)
        1.0
    """
    check_batches(batches)
    if runs is not None and (not isinstance(runs, tuple | list) or len(runs) != 2):
        raise TypeError(f"runs is {runs!r}; expected a pair of functions, one for each model")
    check_weights(first)
    check_weights(second)
    run_first, run_second = runs or (run_on, run_on)
    moments: dict[str, _Pair] = {}
    steps = 0
    for batch in batches:
        one, other = _values(first, batch, run_first), _values(second, batch, run_second)
        shared = [name for name in one if name in other]
        if not shared:
            raise ValueError(
                f"the models share no value: the first has {', '.join(one)}, the second "
                f"{', '.join(other)}; put the layers under the same names"
            )
        for name in shared:
            moments.setdefault(name, _Pair()).add(one[name], other[name], name)
        steps += len(one[shared[0]])
        if progress is not None:
            progress(steps)
    if not steps:
        raise ValueError("batches is empty, or has no steps; expected at least one")
    alike = {name: pair for name, pair in moments.items() if 2 * pair.first == len(pair.mean)}
    return Comparison(
        steps=steps,
        similarity={name: pair.similarity() for name, pair in moments.items()},
        correlation={name: pair.correlation() for name, pair in alike.items()},
        mean={name: pair.mean.reshape(2, -1) for name, pair in alike.items()},
        weights=_changes(first, second),
    )


def _wanted(cell: Cell) -> dict[str, Expr]:
    return {**named_gates(cell), **state_values(cell)}


@torch.no_grad()
def _values(model: nn.Module, batch: Any, run: Run) -> dict[str, Tensor]:
    """Every state and gate of a model on a batch by its full name, its steps as rows [N, n]."""
    with in_eval_mode(model), watch(model, _wanted) as readings:
        run(model, batch)
    for reading in readings:
        check_reading(reading)
    return {n: r.rows(v) for r in readings for n, v in r.values().items()}


class _Pair:
    """The moments of a value in both models together.

    Of many units, similarity is computed from random projections of them: the same for both models
    where these have equally many.
    """

    def __init__(self) -> None:
        self.both = Scatter(joint=True)  # of the units of both, or of their projections
        self.units, self.sums = Scatter(), Scatter()  # of both; of each unit plus its namesake
        self.first = 0  # units of the first model
        self.kept = 0  # of them or of their projections

    def add(self, one: Tensor, other: Tensor, name: str) -> None:
        """Take in rows [N, n] and [N, m]."""
        if len(one) != len(other):
            raise ValueError(
                f"{name} has {len(one)} steps in the first model and {len(other)} in the second; "
                "expected models that read the same steps"
            )
        self.first = one.shape[1]
        one, other = one.double(), other.double()
        few = _projected(one), _projected(other)
        self.kept = few[0].shape[1]
        self.both.add(torch.cat(few, 1))
        self.units.add(torch.cat([one, other], 1))
        if one.shape == other.shape:
            self.sums.add(one + other)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each unit of both, [n + m]."""
        return np.asarray(self.units.mean)

    def similarity(self) -> NDArray[np.float64]:
        """Linear CKA."""
        n, scatter = self.kept, self.both.scatter
        within = np.linalg.norm(scatter[:n, :n]) * np.linalg.norm(scatter[n:, n:])
        across = np.linalg.norm(scatter[n:, :n]) ** 2
        return np.asarray(across / within if within > 0 else 0.0)

    def correlation(self) -> NDArray[np.float64]:
        """Pearson's r of each unit with its namesake."""
        n, squares = self.first, self.units.scatter
        spread = np.sqrt(squares)
        together = (self.sums.scatter - squares[:n] - squares[n:]) / 2
        return ratio(together, spread[:n] * spread[n:])


def _projected(rows: Tensor) -> Tensor:
    """Rows [N, n], where there are many units on as many random directions as are kept of them."""
    units = rows.shape[1]
    if units <= MOST_UNITS:
        return rows
    generator = torch.Generator().manual_seed(units)
    directions = torch.randn(units, MOST_UNITS, generator=generator, dtype=torch.float64)
    found: Tensor = rows @ directions.to(rows) / MOST_UNITS**0.5
    return found


def _changes(first: nn.Module, second: nn.Module) -> dict[str, NDArray[np.float64]]:
    """The relative change of each parameter that both have."""
    theirs = dict(second.named_parameters())
    return {
        name: np.asarray(((theirs[name] - p).norm() / p.norm()).item())
        for name, p in first.named_parameters()
        if name in theirs and theirs[name].shape == p.shape
    }
