"""What an arrangement of a row copies from where, for given sizes.

Letters: n units of a row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from gatework.lang.axes import SCALAR, slots
from gatework.lang.expressions import Arrange
from gatework.lang.sizes import units

Table = tuple[int, ...]


class Piece(NamedTuple):
    """Neighbouring units that are copied: of which row, from where, how many, to where."""

    row: int
    first: int
    units: int
    to: int


def pieces(node: Arrange, sizes: Mapping[str, int]) -> list[Piece]:
    """What is copied, in the order of the result; units in between are zero."""
    n = units(node.length(), sizes)
    match node.kind:
        case "roll":
            ahead = node.details[0] % n
            whole = [Piece(0, n - ahead, ahead, 0), Piece(0, 0, n - ahead, ahead)]
        case "shift":
            by = max(-n, min(n, node.details[0]))
            whole = [Piece(0, max(0, -by), n - abs(by), max(0, by))]
        case "part":
            whole = [Piece(0, units(node.details[0], sizes, 0), n, 0)]
        case _:
            starts = (units(start, sizes, 0) for start in node.details)
            whole = [
                Piece(k, 0, units(node.length(row), sizes), start)
                for k, (row, start) in enumerate(zip(node.args, starts, strict=True))
            ]
    return sorted((p for p in whole if p.units), key=lambda p: p.to)


def gaps(copied: Sequence[Piece], n: int) -> list[Piece]:
    """The units in between, as pieces of a row of zeros."""
    ends = [0, *(p.to + p.units for p in copied)]
    starts = [*(p.to for p in copied), n]
    found = (Piece(0, 0, s - e, e) for e, s in zip(ends, starts, strict=True))
    return [p for p in found if p.units]


def strides(node: Arrange, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
    """How long each axis of a renamed row is, and how far apart its units lie in the row."""
    old = slots(node.args[0].size)
    lengths = [1 if axis == SCALAR else units(axis, sizes) for axis in old]
    return [(lengths[k], math.prod(lengths[k + 1 :])) for k in node.details[0] if k >= 0]


def table_of(node: Arrange, sizes: Mapping[str, int]) -> Table | None:
    """The table that an arrangement reads: what comes to each unit, or how its sums are made.

    Of a sum that is where the terms of each unit begin, then the terms of all.
    """
    if node.kind not in ("take", "index_add"):
        return None
    index: Table = node.details[0]
    if node.kind == "take":
        return index
    n = units(node.length(), sizes)
    terms, counts = sorted(range(len(index)), key=index.__getitem__), Counter(index)
    return (*accumulate((counts[unit] for unit in range(n)), initial=0), *terms)
