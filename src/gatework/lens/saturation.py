"""Saturation: gates that are all but closed or all but open, and units that never move.

N  steps read, over all sequences      n  units of a value
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.analysis.gates import named_gates
from gatework.lang.definition import Cell
from gatework.lang.expressions import Expr
from gatework.lens.axes import Lengths, mean_along
from gatework.lens.drawing import GRID, Plot, empty_figure, finished, in_style, short_names
from gatework.lens.measurement import Arrays, Measurement, axes
from gatework.lens.measuring import (
    Progress,
    Run,
    Scatter,
    candidates,
    measure,
    rows_of,
    state_values,
)
from gatework.lens.watching import Reading

__all__ = ["Saturation", "SaturationMeter", "saturation"]

LEFT, RIGHT = 0.1, 0.9
"""Below the one a gate is left-saturated, above the other right-saturated."""
DOTS = "#2f7fc1"


@dataclass(frozen=True, eq=False)
class Saturation(Measurement):
    """How often each gate is saturated, and how much each unit moves.

    A gate σ(…) is left-saturated at a step where it is below 0.1 and right-saturated where it is
    above 0.9 (Karpathy, Johnson & Fei-Fei 2015, "Visualizing and understanding recurrent
    networks", section 4.2). Named values that are a tanh are counted likewise: below −0.9, above
    0.9. Shares have no unit, from 0 to 1; mean and deviation are in the values' own units.

    Attributes:
        steps: N, the steps counted.
        left: of each sigmoid and tanh, by full name, the share of steps left-saturated.
        right: the same, right-saturated.
        mean: of each of these and of each state, the mean over the steps.
        deviation: the same, the standard deviation over the steps.
        gates: full names of the gates among them.
        states: full names of the states.
        lengths: of each of these values with axes, how long they are, by name; the last is the
            fastest.
    """

    steps: int
    left: Arrays = field(metadata=axes("unit"))
    right: Arrays = field(metadata=axes("unit"))
    mean: Arrays = field(metadata=axes("unit"))
    deviation: Arrays = field(metadata=axes("unit"))
    gates: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    lengths: Mapping[str, Lengths] = field(default_factory=dict)

    def along(self, *kept: str) -> Saturation:
        """The same for each place on some axes, such as each head: the mean over its units.

        Args:
            kept: names of axes; a value that lacks one of them is left out.

        Raises:
            ValueError: no value has these axes.

        Example:
            >>> import torch, gatework as gw
            >>> layer = gw.nn.Recurrent(gw.cells.gla, 8, head=2, key=3, value=4)
            >>> found = gw.lens.saturation(layer, [torch.randn(20, 3, 8)])
            >>> found.mean["l0.decay"].shape, found.along("head").mean["l0.decay"].shape
            ((6,), (2,))
        """
        return mean_along(self, kept)

    def always_open(self, share: float = 0.99) -> dict[str, NDArray[np.int64]]:
        """The units of each gate that are right-saturated at so many of the steps, by gate."""
        return {name: np.flatnonzero(self.right[name] >= share) for name in self.gates}

    def always_closed(self, share: float = 0.99) -> dict[str, NDArray[np.int64]]:
        """The units of each gate that are left-saturated at so many of the steps, by gate."""
        return {name: np.flatnonzero(self.left[name] >= share) for name in self.gates}

    def dead(self, least: float = 1e-3) -> dict[str, NDArray[np.int64]]:
        """The units of each state that do not move: deviation below `least`, by state."""
        return {name: np.flatnonzero(self.deviation[name] < least) for name in self.states}

    @in_style
    def plot(self) -> Plot:
        """Draw each unit of each gate by how often it is all but closed, and all but open.

        After Karpathy, Johnson & Fei-Fei 2015, figure 2 (right).
        """
        gates = short_names(self.gates or tuple(self.left))
        columns = min(3, max(1, len(gates)))
        rows = max(1, -(-len(gates) // columns))
        figure = empty_figure(2.4 * columns + 0.6, 2.6 * rows)
        places = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
        for ax, (gate, title) in zip(places, gates.items(), strict=False):
            ax.plot([0, 1], [1, 0], color=GRID, linewidth=0.8)
            ax.scatter(self.left[gate], self.right[gate], s=14, alpha=0.6, color=DOTS)
            ax.set_title(title, fontsize=10, fontweight="bold")
            ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        for ax in list(places)[len(gates) :]:
            ax.set_visible(False)
        figure.supxlabel(f"share of steps below {LEFT:g}", fontsize=10)
        figure.supylabel(f"share of steps above {RIGHT:g}", fontsize=10)
        return finished(figure, "saturation")


def saturation(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    run: Run | None = None,
    progress: Progress | None = None,
) -> Saturation:
    """Count how often each gate of a model is saturated. See `Saturation` for the definition.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batches: what the model is called with, one by one; read once.
        run: how the model is run on a batch. To carry a state, see `carry_state`.
        progress: told after each batch how many steps have been read so far.

    Raises:
        ValueError: there is no batch, or the model has no recurrent layer.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> with torch.no_grad():
        ...     _ = layer.bias_ih_l0[8:16].fill_(20.0)  # the forget gate's bias
        >>> found = gw.lens.saturation(layer, [torch.randn(20, 3, 4)])
        >>> found.right["l0.f"].tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        >>> found.always_open()["l0.f"].tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    (found,) = measure(model, batches, SaturationMeter(), run=run, progress=progress)
    return found  # type: ignore[no-any-return]


@dataclass
class _Count:
    """What is known of one value so far: how many steps lie below and above two bounds."""

    low: float
    left: Any = 0
    right: Any = 0
    moments: Scatter = field(default_factory=Scatter)

    def add(self, rows: Tensor) -> None:
        """Take in rows [N, n]."""
        self.left = self.left + (rows < self.low).sum(0).cpu().numpy()
        self.right = self.right + (rows > RIGHT).sum(0).cpu().numpy()
        self.moments.add(rows)


class SaturationMeter:
    """Counts as batches come. See `gatework.lens.measure`."""

    def __init__(self) -> None:
        self._gates: dict[str, _Count] = {}
        self._squashed: dict[str, _Count] = {}
        self._states: dict[str, Scatter] = {}
        self._lengths: dict[str, Lengths] = {}

    def wanted(self, cell: Cell) -> dict[str, Expr]:
        """The values with bounds, and the states."""
        return {**named_gates(cell), **candidates(cell), **state_values(cell)}

    def add(self, reading: Reading, batch: Any, number: int) -> None:
        """Count the steps of one call."""
        cell = reading.layer.cell
        self._lengths |= reading.lengths()
        for place, name, rows in rows_of(reading, named_gates(cell)):
            self._gates.setdefault(f"{place}.{name}", _Count(LEFT)).add(rows)
        for place, name, rows in rows_of(reading, candidates(cell)):
            self._squashed.setdefault(f"{place}.{name}", _Count(-RIGHT)).add(rows)
        for place, name, rows in rows_of(reading, state_values(cell)):
            self._states.setdefault(f"{place}.{name}", Scatter()).add(rows)

    def result(self) -> Saturation:
        """The shares of all steps."""
        counts = {**self._gates, **self._squashed}
        moments = {**{name: c.moments for name, c in counts.items()}, **self._states}
        if not moments:
            raise ValueError(
                "the recurrent layers have no gate, no tanh and no state that a step computes, so "
                "there is nothing that could be saturated"
            )
        return Saturation(
            steps=max(m.count for m in moments.values()),
            left={name: c.left / c.moments.count for name, c in counts.items()},
            right={name: c.right / c.moments.count for name, c in counts.items()},
            mean={name: m.mean for name, m in moments.items()},
            deviation={name: m.deviation() for name, m in moments.items()},
            gates=tuple(self._gates),
            states=tuple(self._states),
            lengths={name: own for name, own in self._lengths.items() if name in moments},
        )
