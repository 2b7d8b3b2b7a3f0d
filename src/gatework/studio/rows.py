"""In which rows the units of a value are shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gatework.lens.axes import Lengths

__all__ = ["Rows"]

MOST_ROWS = 1_024
"""Rows of a map of a value with axes; where there would be more, the last axes are put together."""


@dataclass(frozen=True)
class Rows:
    """The rows in which a value is shown.

    Attributes:
        count: How many there are.
        axes: What each axis of them counts, and how long it is; none for units of one size.
        over: The axes over which a row stands for all units.
        lengths: How long all axes of the value are.
        signed: Whether the units of a row are told by their root mean square, not by their mean.
    """

    count: int
    axes: Lengths
    over: tuple[str, ...]
    lengths: Lengths
    signed: bool

    @classmethod
    def of(cls, units: int, lengths: Lengths, scale: str) -> Rows:
        """Those of a value with so many units: with as many of the first axes as there is room for.

        The first axis is always shown.
        """
        kept = dict(lengths)
        while len(kept) > 1 and math.prod(kept.values()) > MOST_ROWS:
            kept.popitem()
        over = tuple(axis for axis in lengths if axis not in kept)
        return cls(
            math.prod(kept.values()) if kept else units, kept, over, lengths, scale != "open"
        )

    def shown(self, values: Tensor) -> Tensor:
        """Values [..., n] by rows, [..., rows]."""
        if not self.over:
            return values
        whole = values.reshape(*values.shape[:-1], self.count, -1)
        return whole.square().mean(-1).sqrt() if self.signed else whole.mean(-1)

    def place(self, row: int) -> dict[str, int]:
        """Where a row stands on each axis."""
        places = np.unravel_index(row, tuple(self.axes.values())) if self.axes else ()
        return dict(zip(self.axes, map(int, places), strict=True))

    def row_at(self, other: Rows, row: int) -> int | None:
        """The row that stands where one of another value does; None if there is none, or several.

        Of values without axes that of the same number.
        """
        if not self.axes and not other.axes:
            return row if row < self.count else None
        place = other.place(row)
        if not self.axes or not self.axes.keys() <= place.keys():
            return None
        at = tuple(place[axis] for axis in self.axes)
        return int(np.ravel_multi_index(at, tuple(self.axes.values())))
