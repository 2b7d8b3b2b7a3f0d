"""Rows with their units in other places: copies of pieces, running sums, and tables of indices.

Threads that share the units of a row all write it as a whole, the same numbers, and read it without
waiting for each other. So every unit is written once, with the number that it keeps.

Letters: n units of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.routines import call_routine
from gatework.backends.cpu.vector.values import Index, Value, Vector, float_text
from gatework.compiler.arranging import gaps, pieces, strides
from gatework.lang.axes import SCALAR, slots
from gatework.lang.expressions import Arrange
from gatework.lang.sizes import units


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
        self.sources, self.to, self.table = sources, to, table
        self.n = units(node.length(), sizes)
        whole = node if node.size != SCALAR else node.args[0]
        after = slots(whole.size)[node.axis + 1 :]
        self.width = math.prod(units(axis, sizes) for axis in after)  # numbers of a unit
        self.times = units(node.size, sizes) // (self.n * self.width)

    def write(self) -> None:
        """Every unit of the row, for every index of the axes before its own."""
        if self.node.kind == "rename":
            self.renamed()
            return
        if self.times == 1:
            self.write_units()
            return
        sources, to = self.sources, self.to
        with self.b.loop(self.times) as k:
            lengths = [units(self.node.length(row), self.sizes) for row in self.node.args]
            self.sources = [
                self.number(source, self.b.mul(k, n * self.width))
                for source, n in zip(sources, lengths, strict=True)
            ]
            self.to = self.number(to, self.b.mul(k, self.n * self.width))
            self.write_units()

    def write_units(self) -> None:
        """Every unit along the axis."""
        match self.node.kind:
            case "flip":
                with self.b.loop(self.n) as i:
                    self.copy(0, self.b.sub(self.n - 1, i), i)
            case "cumsum":
                self.each_number(self.running_sum)
            case "take":
                with self.b.loop(self.n) as i:
                    self.copy(0, self.listed(i), i)
            case "index_add":
                self.each_number(self.gathered_sums)
            case _:
                self.copies()

    def number(self, row: Value, place: Index) -> Value:
        """The address of a number of a row."""
        return self.b.at(row, self.vector.element, place)

    def place(self, unit: Index, number: Index = 0) -> Index:
        """Where a number of a unit lies in a row."""
        return self.b.add(self.b.mul(unit, self.width), number)

    def get(self, unit: Index, number: Index = 0) -> Value:
        """A number of a unit of the first row."""
        at = self.number(self.sources[0], self.place(unit, number))
        return self.b.load(at, self.vector.element, self.vector.size)

    def put(self, value: Value, unit: Index, number: Index = 0) -> None:
        """Store a number of a unit of the result."""
        at = self.number(self.to, self.place(unit, number))
        self.b.store(value, at, self.vector.size)

    def copy(self, row: int, first: Index, to: Index, units: int = 1) -> None:
        """Copy neighbouring units of a row."""
        self.copy_numbers(row, self.place(first), self.place(to), units * self.width)

    def copy_numbers(self, row: int, first: Index, to: Index, numbers: int) -> None:
        """Copy neighbouring numbers of a row."""
        source, target = self.number(self.sources[row], first), self.number(self.to, to)
        if numbers == 1:
            element, size = self.vector.element, self.vector.size
            self.b.store(self.b.load(source, element, size), target, size)
            return
        n, one = self.b.index(numbers), self.b.index(1)
        call_routine(self.b, "put", target, n, source, n, one, n, Value("false", "i1"))

    def each_number(self, write: Callable[[Index], None]) -> None:
        """Write every unit of the result, one of its numbers after the other."""
        if self.width == 1:
            write(0)
            return
        with self.b.loop(self.width) as number:
            write(number)

    def listed(self, place: Index) -> Value:
        """A number of the table."""
        assert self.table is not None  # its kind has one
        return self.b.load(self.b.at(self.table, "i64", place), "i64", 8)

    def zero(self) -> Value:
        """The number 0."""
        return Value(float_text(0.0, self.vector.element), self.vector.element)

    def copies(self) -> None:
        """Pieces of rows, and zeros in between."""
        copied = pieces(self.node, self.sizes)
        for piece in copied:
            self.copy(piece.row, piece.first, piece.to, piece.units)
        for gap in gaps(copied, self.n):
            last = (gap.to + gap.units) * self.width
            with self.b.loop(last, start=gap.to * self.width) as i:
                self.b.store(self.zero(), self.number(self.to, i), self.vector.size)

    def renamed(self) -> None:
        """Every unit of the result, axis by axis; units that stay neighbours are one piece."""
        axes, piece = strides(self.node, self.sizes), 1
        while axes and axes[-1][1] == piece:
            piece *= axes.pop()[0]
        with ExitStack() as loops:
            first: Index = 0
            to: Index = 0
            for length, stride in axes:
                at = loops.enter_context(self.b.loop(length))
                first = self.b.add(first, self.b.mul(at, stride))
                to = self.b.add(self.b.mul(to, length), at)
            self.copy_numbers(0, first, self.b.mul(to, piece), piece)

    def running_sum(self, number: Index) -> None:
        """The sum of all units up to each one; backwards, from the last on."""
        element, size, backwards = self.vector.element, self.vector.size, self.node.details[0]
        total = self.b.slot(element)
        self.b.store(self.zero(), total, size)
        with self.b.loop(self.n) as i:
            unit = self.b.sub(self.n - 1, i) if backwards else i
            more = self.b.fadd(self.b.load(total, element, size), self.get(unit, number))
            self.b.store(more, total, size)
            self.put(more, unit, number)

    def gathered_sums(self, number: Index) -> None:
        """For each unit the sum of the units that are added there."""
        element, size = self.vector.element, self.vector.size
        total = self.b.slot(element)
        with self.b.loop(self.n) as i:
            self.b.store(self.zero(), total, size)
            with self.b.loop(self.listed(self.b.add(i, 1)), start=self.listed(i)) as term:
                unit = self.listed(self.b.add(term, self.n + 1))
                more = self.b.fadd(self.b.load(total, element, size), self.get(unit, number))
                self.b.store(more, total, size)
            self.put(self.b.load(total, element, size), i, number)
