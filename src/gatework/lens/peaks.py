"""The passages on which units are most active.

T  time steps      B  sequences      W  steps of a passage
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count as numbers
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.lang.definition import Cell, check_known
from gatework.lang.expressions import Expr
from gatework.lens.arguments import check_several, check_whole
from gatework.lens.measurement import Measurement, axes
from gatework.lens.measuring import Progress, Run, measure
from gatework.lens.watching import Reading, value_names

__all__ = ["PeakMeter", "Peaks", "find_peaks"]


@dataclass(frozen=True, eq=False)
class Peaks(Measurement):
    """Where each of some units is most active: at its largest |activation|, in the value's units.

    At most one place of each sequence of a batch is taken, so that the passages are different
    ones. Batches, sequences and steps are numbered from 0.

    Attributes:
        units: the units, such as "layer.l0.c[17]".
        before: how many steps of a passage stand before the peak.
        activation: the activation at the peak, the largest |activation| first; NaN where there are
            not so many places.
        batch: the batch of the peak; −1 where there is none.
        sequence: the sequence in that batch.
        step: the step in that batch.
        around: the activation over the passage; NaN past the ends of the batch.
        symbols: what the model was given over the passage, where batches are of whole numbers
            [T, B], such as the bytes of a text; −1 past the ends of the batch.
    """

    units: tuple[str, ...]
    before: int
    activation: NDArray[np.float64] = field(metadata=axes("unit", "rank"))
    batch: NDArray[np.int64] = field(metadata=axes("unit", "rank"))
    sequence: NDArray[np.int64] = field(metadata=axes("unit", "rank"))
    step: NDArray[np.int64] = field(metadata=axes("unit", "rank"))
    around: NDArray[np.float64] = field(metadata=axes("unit", "rank", "place"))
    symbols: NDArray[np.int64] = field(metadata=axes("unit", "rank", "place"))

    def text(self, unit: int, rank: int) -> str:
        """A passage of a text of bytes, with � for what is no character of it.

        `symbols` has its bytes, of which that of the peak is number `before`, or an earlier one
        where the batch begins less than that before it.
        """
        given = bytes(int(symbol) for symbol in self.symbols[unit, rank] if symbol >= 0)
        return given.decode("utf-8", "replace")


def find_peaks(
    model: nn.Module,
    batches: Iterable[Any],
    units: Sequence[tuple[Any, ...]],
    *,
    count: int = 8,
    before: int = 40,
    after: int = 10,
    run: Run | None = None,
    progress: Progress | None = None,
) -> Peaks:
    """Find the passages on which some units are most active. See `Peaks` for the definition.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batches: what the model is called with, one by one; read once.
        units: the units, as pairs of a value's full name and the unit's number. What `best` of
            `FoundUnits` gives will do.
        count: how many passages for each unit.
        before: how many steps of a passage stand before the peak.
        after: how many stand after it.
        run: how the model is run on a batch. To carry a state, see `carry_state`.
        progress: told after each batch how many steps have been read so far.

    Raises:
        ValueError: there is no batch, no unit, or no value of that name.

    Example:
        >>> import torch, gatework as gw
        >>> model = gw.nn.LSTM(4, 8)
        >>> found = gw.lens.find_peaks(model, [torch.randn(90, 3, 4)], [("l0.c", 5)], count=2)
        >>> found.units, found.around.shape
        (('l0.c[5]',), (1, 2, 51))
    """
    meter = PeakMeter(units, count=count, before=before, after=after)
    check_known("value", [name for name, _ in meter.units], value_names(model), "the model")
    (found,) = measure(model, batches, meter, run=run, progress=progress)
    return found  # type: ignore[no-any-return]


Place = tuple[float, int, float, tuple[int, int, int], NDArray[np.float64], NDArray[np.int64]]
"""|activation|, a running number, activation, (batch, sequence, step), around, symbols."""


class PeakMeter:
    """Keeps the best places as batches come. See `find_peaks` and `gatework.lens.measure`."""

    def __init__(
        self, units: Sequence[tuple[Any, ...]], *, count: int = 8, before: int = 40, after: int = 10
    ) -> None:
        check_whole(count=count, before=before, after=after)
        check_several('pairs, such as [("l0.c", 5)]', units=units)
        if not units or count < 1 or before < 0 or after < 0:
            raise ValueError(
                f"{len(units)} units, count = {count}, before = {before}, after = {after}; "
                "expected at least one unit and one passage, and no negative number of steps"
            )
        for unit in units:
            pair = isinstance(unit, tuple | list) and len(unit) >= 2
            if not pair or not isinstance(unit[1], int):
                raise TypeError(
                    f"a unit is given as {unit!r}; expected a pair of a value's full name and a "
                    'number, such as ("l0.c", 5)'
                )
        self.units = [(str(unit[0]), int(unit[1])) for unit in units]
        self.count, self.before, self.after = count, before, after
        self._best: list[list[Place]] = [[] for _ in self.units]
        self._numbers = numbers()
        self._seen: set[str] = set()

    def wanted(self, cell: Cell) -> dict[str, Expr]:
        """The values whose units are asked for."""
        return {
            name: value
            for name, value in cell.names.items()
            if value.args and any(full.endswith(f".{name}") for full, _ in self.units)
        }

    def add(self, reading: Reading, batch: Any, number: int) -> None:
        """Look through one call."""
        values = reading.values()
        self._seen |= values.keys()
        symbols = _symbols(batch)
        for best, (name, unit) in zip(self._best, self.units, strict=True):
            if name in values:
                if not 0 <= unit < values[name].shape[2]:
                    raise ValueError(
                        f"{name} has {values[name].shape[2]} units, numbered from 0; got {unit}"
                    )
                self._look(best, values[name][:, :, unit], reading.inside, symbols, number)

    def _look(
        self,
        best: list[Place],
        rows: Tensor,
        inside: Tensor | None,
        symbols: Tensor | None,
        batch: int,
    ) -> None:
        """Take the best place of each sequence, rows [T, B]."""
        sizes = rows.abs() if inside is None else rows.abs().where(inside, torch.tensor(-1.0))
        highest = sizes.max(0)
        for b, (size, t) in enumerate(zip(highest[0].tolist(), highest[1].tolist(), strict=True)):
            if size < 0 or (len(best) == self.count and size <= best[0][0]):
                continue
            where = batch, b, t
            around = self._passage(rows[:, b].double().numpy(), t, np.nan)
            given = np.full(len(rows), -1) if symbols is None else symbols[:, b].numpy()
            place = (
                size,
                -next(self._numbers),
                float(rows[t, b]),
                where,
                around,
                self._passage(given, t, -1),
            )
            (heapq.heappush if len(best) < self.count else heapq.heappushpop)(best, place)

    def _passage(self, values: NDArray[Any], t: int, filler: float) -> NDArray[Any]:
        """The steps around t, [W]; the filler past the ends."""
        padded = np.pad(values, (self.before, self.after), constant_values=filler)
        return padded[t : t + self.before + 1 + self.after]

    def result(self) -> Peaks:
        """The best places of all batches."""
        check_known("value", [name for name, _ in self.units], sorted(self._seen), "the model")
        found = [sorted(best, key=lambda place: place[:2], reverse=True) for best in self._best]
        width = self.before + 1 + self.after
        none: Place = (0, 0, np.nan, (-1, -1, -1), np.full(width, np.nan), np.full(width, -1))
        rows = [best + [none] * (self.count - len(best)) for best in found]
        places = np.array([[place[3] for place in row] for row in rows])
        return Peaks(
            units=tuple(f"{name}[{unit}]" for name, unit in self.units),
            before=self.before,
            activation=np.array([[place[2] for place in row] for row in rows]),
            batch=places[..., 0],
            sequence=places[..., 1],
            step=places[..., 2],
            around=np.array([[place[4] for place in row] for row in rows]),
            symbols=np.array([[place[5] for place in row] for row in rows]),
        )


def _symbols(batch: Any) -> Tensor | None:
    """What the model was given, where it is whole numbers [T, B]."""
    given = batch[0] if isinstance(batch, tuple) else batch
    if isinstance(given, Tensor) and given.dim() == 2 and not given.is_floating_point():
        return given
    return None
