"""Rows with their units in other places: copies of pieces, running sums, and tables of indices.

Threads that share the units of a row all write it as a whole, the same numbers, and read it without
waiting for each other. So every unit is written once, with the number that it keeps.

Letters: n units of a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.routines import call_routine
from gatework.backends.cpu.vector.values import Index, Value, Vector, float_text
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
    n = sizes[node.size]
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
                Piece(k, 0, sizes[row.size], start)
                for k, (row, start) in enumerate(zip(node.args, starts, strict=True))
            ]
    return sorted((p for p in whole if p.units), key=lambda p: p.to)


def gaps(copied: Sequence[Piece], n: int) -> list[Piece]:
    """The units in between, as pieces of a row of zeros."""
    ends = [0, *(p.to + p.units for p in copied)]
    starts = [*(p.to for p in copied), n]
    found = (Piece(0, 0, s - e, e) for e, s in zip(ends, starts, strict=True))
    return [p for p in found if p.units]


def table_of(node: Arrange, sizes: Mapping[str, int]) -> Table | None:
    """The table that an arrangement reads: what comes to each unit, or how its sums are made.

    Of a sum that is where the terms of each unit begin, then the terms of all.
    """
    if node.kind not in ("take", "index_add"):
        return None
    index: Table = node.details[0]
    if node.kind == "take":
        return index
    n = sizes[node.size]
    terms, counts = sorted(range(len(index)), key=index.__getitem__), Counter(index)
    return (*accumulate((counts[unit] for unit in range(n)), initial=0), *terms)


class Rearranging:
    """Writes one row, arranged as a node says.

    Args:
        b: Writes the code.
        vector: The vector type.
        node: What is done.
        sizes: The numbers of units.
        sources: The addresses of the rows that are read.
        to: That of the row that is written.
        table: That of the node's table, if it has one.
    """

    def __init__(
        self, b: Builder, vector: Vector, node: Arrange, sizes: Mapping[str, int],
        sources: Sequence[Value], to: Value, table: Value | None,
    ) -> None:  # fmt: skip
        self.b, self.vector, self.node, self.sizes = b, vector, node, sizes
        self.sources, self.to, self.table, self.n = sources, to, table, sizes[node.size]

    def write(self) -> None:
        """Every unit of the row."""
        match self.node.kind:
            case "flip":
                with self.b.loop(self.n) as i:
                    self.put(self.get(self.b.sub(self.n - 1, i)), i)
            case "cumsum":
                self.running_sum(backwards=self.node.details[0])
            case "take":
                with self.b.loop(self.n) as i:
                    self.put(self.get(self.listed(i)), i)
            case "index_add":
                self.gathered_sums()
            case _:
                self.copies()

    def get(self, unit: Index) -> Value:
        """A unit of the first row."""
        at = self.b.at(self.sources[0], self.vector.element, unit)
        return self.b.load(at, self.vector.element, self.vector.size)

    def put(self, value: Value, unit: Index) -> None:
        """Store a unit of the result."""
        self.b.store(value, self.b.at(self.to, self.vector.element, unit), self.vector.size)

    def listed(self, place: Index) -> Value:
        """A number of the table."""
        assert self.table is not None  # its kind has one
        return self.b.load(self.b.at(self.table, "i64", place), "i64", 8)

    def zero(self) -> Value:
        """The number 0."""
        return Value(float_text(0.0, self.vector.element), self.vector.element)

    def copies(self) -> None:
        """Pieces of rows, and zeros in between."""
        copied, one = pieces(self.node, self.sizes), self.b.index(1)
        for piece in copied:
            source = self.b.at(self.sources[piece.row], self.vector.element, piece.first)
            target = self.b.at(self.to, self.vector.element, piece.to)
            n = self.b.index(piece.units)
            call_routine(self.b, "put", target, n, source, n, one, n, Value("false", "i1"))
        for gap in gaps(copied, self.n):
            with self.b.loop(gap.to + gap.units, start=gap.to) as i:
                self.put(self.zero(), i)

    def running_sum(self, backwards: bool) -> None:
        """The sum of all units up to each one; backwards, from the last on."""
        total = self.b.slot(self.vector.element)
        self.b.store(self.zero(), total, self.vector.size)
        with self.b.loop(self.n) as i:
            unit = self.b.sub(self.n - 1, i) if backwards else i
            more = self.b.fadd(
                self.b.load(total, self.vector.element, self.vector.size), self.get(unit)
            )
            self.b.store(more, total, self.vector.size)
            self.put(more, unit)

    def gathered_sums(self) -> None:
        """For each unit the sum of the units that are added there."""
        element, size = self.vector.element, self.vector.size
        total = self.b.slot(element)
        with self.b.loop(self.n) as i:
            self.b.store(self.zero(), total, size)
            with self.b.loop(self.listed(self.b.add(i, 1)), start=self.listed(i)) as term:
                unit = self.listed(self.b.add(term, self.n + 1))
                self.b.store(
                    self.b.fadd(self.b.load(total, element, size), self.get(unit)), total, size
                )
            self.put(self.b.load(total, element, size), i)
