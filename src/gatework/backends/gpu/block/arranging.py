"""Rows with their units in other places: each thread finds what comes to some units."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import Memory, by_unit
from gatework.backends.gpu.block.sections import Section, indented, section
from gatework.compiler.arranging import pieces, strides, table_of
from gatework.lang.axes import SCALAR, slots
from gatework.lang.expressions import Arrange
from gatework.lang.sizes import units


def arrangement(
    layout: Layout, node: Arrange, sources: Sequence[Memory], targets: Sequence[Memory]
) -> Section:
    """The section that writes an arranged row."""
    return Arranging(layout, node, sources, targets).section()


class Arranging:
    """One row, arranged as a node says: [outer][n][inner] of the axes before, along and after.

    Args:
        layout: Where everything lies.
        node: What is done.
        sources: Where the rows are read.
        targets: Where the row is stored.
    """

    def __init__(
        self, layout: Layout, node: Arrange, sources: Sequence[Memory], targets: Sequence[Memory]
    ) -> None:
        self.layout, self.node, self.sources, self.targets = layout, node, sources, targets
        self.sizes = layout.sizes
        self.n = units(node.length(), self.sizes)
        self.total = units(node.size, self.sizes)
        whole = node if node.size != SCALAR else node.args[0]
        after = slots(whole.size)[node.axis + 1 :]
        self.inner = math.prod(units(axis, self.sizes) for axis in after)
        self.outer = self.total // (self.n * self.inner)

    def section(self) -> Section:
        """The whole row."""
        if self.node.kind == "cumsum":
            lines, share = self.running_sums(), "running sums"
        else:
            share = by_unit(self.total)
            lines = self.each_unit()
        read = [u for m in self.sources for u in m.used()]
        stored = [u for m in self.targets for u in m.used(share, writes=True)]
        return section(lines, [*read, *stored])

    def each_unit(self) -> list[str]:
        """Every unit by itself; a single number by every thread."""
        loop = f"for (int i = thread; i < {self.total}; i += THREADS) {{"
        head = "{ const int i = 0;" if self.node.size == SCALAR else loop
        return [head, *indented([*self.unit(), *self.store("i", "value")]), "}"]

    def store(self, unit: str, value: str) -> list[str]:
        """The statements that store a unit."""
        return [m.write(unit, value) for m in self.targets]

    def unit(self) -> list[str]:
        """The statements that find the value of unit i."""
        if self.node.kind == "rename":
            return [f"const float value = {self.sources[0].read(self.renamed())};"]
        along = [
            f"const int inner = i % {self.inner}, u = i / {self.inner} % {self.n};",
            f"const int outer = i / {self.inner * self.n};",
        ]
        match self.node.kind:
            case "flip":
                return [*along, self.value(f"{self.n - 1} - u")]
            case "take":
                return [*along, self.value(f"{self.table()}[u]")]
            case "index_add":
                return [*along, *self.gathered()]
            case _:
                return [*along, *self.copied()]

    def table(self) -> str:
        """The indices of the node."""
        table = table_of(self.node, self.sizes)
        assert table is not None  # its kind has one
        return self.layout.table(table)

    def at(self, unit: str, row: int = 0) -> str:
        """Where a unit of a source lies."""
        length = units(self.node.length(self.node.args[row]), self.sizes)
        return f"(outer * {length} + {unit}) * {self.inner} + inner"

    def value(self, unit: str) -> str:
        """The statement that reads the value from a unit of the first source."""
        return f"const float value = {self.sources[0].read(self.at(unit))};"

    def copied(self) -> list[str]:
        """Pieces of rows, and zeros in between."""
        lines = ["float value = 0.0f;"]
        for piece in pieces(self.node, self.sizes):
            inside = f"u >= {piece.to} && u < {piece.to + piece.units}"
            source = self.sources[piece.row].read(
                self.at(f"(u + {piece.first - piece.to})", piece.row)
            )
            lines.append(f"if ({inside}) value = {source};")
        return lines

    def gathered(self) -> list[str]:
        """The sum of the units that are added there."""
        table = self.table()
        term = self.sources[0].read(self.at(f"{table}[term + {self.n + 1}]"))
        return [
            "float value = 0.0f;",
            f"for (int term = {table}[u]; term < {table}[u + 1]; ++term) value += {term};",
        ]

    def renamed(self) -> str:
        """Where unit i of the result is in the row, by the axes of the result."""
        terms, pitch = [], self.total
        for length, stride in strides(self.node, self.sizes):
            pitch //= length
            terms.append(f"i / {pitch} % {length} * {stride}")
        return " + ".join(terms) or "0"

    # ---- running sums --------------------------------------------------------------------------

    def running_sums(self) -> list[str]:
        """A warp for each row along the axis, 32 units at a time."""
        unit = f"{self.n - 1} - at" if self.node.details[0] else "at"
        columns = self.outer * self.inner
        return [
            "const int lane = thread % 32;",
            f"for (int column = thread / 32; column < {columns}; column += THREADS / 32) {{",
            f"  const int inner = column % {self.inner}, outer = column / {self.inner};",
            "  float before = 0.0f;",
            f"  for (int first = 0; first < {self.n}; first += 32) {{",
            "    const int at = first + lane;",
            f"    const int i = {self.at(f'({unit})')};",
            f"    const float own = at < {self.n} ? {self.sources[0].read('i')} : 0.0f;",
            "    const float value = before + summed_up_to_lane(own, lane);",
            f"    if (at < {self.n}) {{",
            *indented(indented(indented(self.store("i", "value")))),
            "    }",
            "    before = shuffle(value, 31);",
            "  }",
            "}",
        ]
