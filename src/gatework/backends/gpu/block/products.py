"""Sums of products: matrices read as they lie, through the second-level cache.

A product W v has a few threads for each row of W, which read neighbouring columns: eight of them
read a line of 128 bytes. A product Wᵀ v has a thread for a few neighbouring columns of W and a
slice of its rows. Sums go to a row of their own.

Letters: n units of the result, K the length of a product's sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from gatework.backends.gpu.block.layout import LANES, Layout
from gatework.backends.gpu.block.memory import Row, by_unit
from gatework.backends.gpu.block.sections import Section, Use, section
from gatework.backends.gpu.loop import BYTES
from gatework.compiler.passes import Lowered, Sum
from gatework.lang.expressions import Expr, Product

PARTIALS = "partials"  # memory for what several threads have of a sum


@dataclass(frozen=True)
class Factor:
    """A product as the text has it.

    Attributes:
        layout: Where everything lies.
        product: The product.
        row: The row that it maps.
        share: How many units of the result a block computes.
    """

    layout: Layout
    product: Product
    row: Row
    share: int

    @property
    def heads(self) -> int:
        """How many matrices there are."""
        return self.product.matrix.heads(self.layout.sizes)

    @property
    def height(self) -> int:
        """Rows of each of them."""
        return self.layout.units(self.product.matrix.height)

    @property
    def width(self) -> int:
        """Columns of each of them."""
        return self.layout.units(self.product.matrix.width)

    @property
    def vector(self) -> int:
        """Elements that a thread reads together: 16 bytes, where columns are a multiple of that."""
        vector = 16 // BYTES[self.layout.setting.element]
        return vector if self.width % vector == 0 else 1

    @cached_property
    def weights(self) -> str:
        """The address of what a block has of the matrices."""
        return self.layout.matrix(self.product.matrix, self.product.transposed, self.share)

    def of_row(self, unit: str, lanes: int) -> str:
        """What a lane has of a row of W times v."""
        at = f"{self.row.name} + {unit} / {self.height} * {self.width}"
        operand = at if self.heads > 1 else self.row.name
        call = f"part_of_row<{self.width}, {lanes}, {self.vector}>"
        return f"{call}({self.weights} + (i64)({unit} - begin) * {self.width}, {operand}, lane)"

    def of_columns(self, unit: str, slices: int, vector: int) -> str:
        """The statement that adds a slice of some columns of W times v."""
        call = f"add_columns<{self.height}, {self.weights}_pitch, {slices}, {vector}>"
        if self.heads == 1:
            return f"{call}({self.weights} + {unit} - begin, {self.row.name}, slice, sums);"
        head = f"{unit} / {self.width}"
        column = f"(i64)({head}) * {self.height * self.width} + {unit} % {self.width}"
        numbers = f"{self.row.name} + {head} * {self.height}"
        return f"{call}({self.weights} + {column}, {numbers}, slice, sums);"


class Products:
    """The sums of products of a stage, as sections.

    Args:
        layout: Where everything lies.
        stage: The stage.
        name: What rows of its own are named after.
    """

    def __init__(self, layout: Layout, stage: Lowered, name: str) -> None:
        self.layout, self.stage, self.name = layout, stage, name

    def sections(self, sums: Sequence[Sum], rows: Sequence[Row]) -> Iterator[Section]:
        """Each sum into its row."""
        yield from self.operands(sums)
        for total, to in zip(sums, rows, strict=True):
            share = self.layout.share(to.units, self.vector)
            factors = [
                Factor(self.layout, p, self.operand(p.args[0]), share) for p in total.products
            ]
            straight = [f for f in factors if not f.product.transposed]
            turned = [f for f in factors if f.product.transposed]
            if straight:
                yield self.rows_of(straight, to)
            if turned:
                yield from self.columns_of(turned, to, adds=bool(straight))
        if sums and self.layout.team > 1:
            all_here = [u for to in rows for u in to.used(by_unit(to.units), writes=True)]
            yield section(["sync_cluster();"], all_here)

    @property
    def vector(self) -> int:
        """Units of a result that stay together: as many elements as are read together."""
        return 16 // BYTES[self.layout.setting.element]

    def bounds(self, n: int) -> list[str]:
        """Which units of a result a block computes."""
        share = self.layout.share(n, self.vector)
        if self.layout.team == 1:
            return [f"constexpr int begin = 0, end = {n};"]
        stop = f"begin + {share} < {n} ? begin + {share} : {n}"
        return [f"const int begin = rank * {share}, end = {stop};"]

    def handed_out(self, to: Row, unit: str, value: str, lane: str, lanes: int) -> str:
        """The statement that stores a unit, in every block of a team: by lanes that have it."""
        if self.layout.team == 1:
            return f"if ({lane} == 0) {to.write(unit, value)}"
        there = f"in_block(shared_address({to.name} + {unit}), other)"
        loop = f"for (int other = {lane}; other < {self.layout.team}; other += {lanes})"
        return f"{loop} store_in({there}, {value});"

    def stored_uses(self, to: Row, share: str) -> tuple[Use, ...]:
        """What is touched where units are stored; of a team's rows, when all are there."""
        return () if self.layout.team > 1 else to.used(share, writes=True)

    # ---- operands ------------------------------------------------------------------------------

    def operand(self, value: Expr) -> Row:
        """The row of floats of what a product maps: its own, or a copy."""
        place = self.stage.known[value]
        memory = self.layout.read(place)
        if isinstance(memory, Row):
            return memory
        return self.layout.own(f"copy of {place.argument} {place.offset or ''}", memory.units)

    def operands(self, sums: Sequence[Sum]) -> Iterator[Section]:
        """Copies of what lies outside."""
        places = {self.stage.known[a]: a for s in sums for p in s.products for a in p.args}
        for place, value in places.items():
            memory, units = self.layout.read(place), self.layout.units(place.size)
            if not isinstance(memory, Row):
                copy = self.operand(value)
                copied = copy.write("i", memory.read("i"))
                loop = f"for (int i = thread; i < {units}; i += THREADS) {copied}"
                yield section([loop], copy.used(by_unit(units), writes=True))

    # ---- W v -----------------------------------------------------------------------------------

    def rows_of(self, factors: Sequence[Factor], to: Row) -> Section:
        """A few lanes for each row."""
        n = to.units
        lanes = self.lanes(factors, min(n, self.layout.share(n, self.vector)))
        teams = self.layout.threads // lanes
        parts = " + ".join(f.of_row("unit", lanes) for f in factors)
        lines = [
            *self.bounds(n),
            f"const int lane = thread % {lanes};",
            f"for (int first = begin; first < end; first += {teams}) {{",
            f"  const int unit = first + thread / {lanes};",
            f"  const float part = unit < end ? {parts} : 0.0f;",
            f"  const float sum = joined<true, {lanes}>(part);",
            f"  if (unit < end) {self.handed_out(to, 'unit', 'sum', 'lane', lanes)}",
            "}",
        ]
        read = [u for f in factors for u in f.row.used()]
        return section(lines, [*read, *self.stored_uses(to, f"{lanes} lanes a unit of {n}")])

    def lanes(self, factors: Sequence[Factor], n: int) -> int:
        """Threads of a row: more than usual where there are few rows."""
        pieces = max(-(-f.width // f.vector) for f in factors)
        lanes = 1
        while lanes < min(pieces, 32) and (lanes < LANES or 2 * lanes * n <= self.layout.threads):
            lanes *= 2
        return lanes

    # ---- Wᵀ v ----------------------------------------------------------------------------------

    def columns_of(self, factors: Sequence[Factor], to: Row, *, adds: bool) -> Iterator[Section]:
        """A thread for some columns and a slice of the rows; then the slices of each unit."""
        n, threads = to.units, self.layout.threads
        vector = min(f.vector for f in factors)
        ours = min(n, self.layout.share(n, self.vector))
        groups = ours // vector
        slices = max(1, min(threads // groups, max(f.height for f in factors)))
        partials = self.layout.own(PARTIALS, slices * ours)
        lines = [
            *self.bounds(n),
            f"for (int at = thread; at < {groups * slices}; at += THREADS) {{",
            f"  const int slice = at / {groups}, unit = begin + at % {groups} * {vector};",
            "  if (unit >= end) continue;",
            f"  float sums[{vector}] = {{}};",
            *(f"  {f.of_columns('unit', slices, vector)}" for f in factors),
            f"  float* const parts = {partials.name} + slice * {ours} + unit - begin;",
            f"  for (int k = 0; k < {vector}; ++k) parts[k] = sums[k];",
            "}",
        ]
        read = [u for f in factors for u in f.row.used()]
        yield section(lines, [*read, *partials.used(writes=True)])
        start = to.read("i") if adds else "0.0f"
        gather = [
            *self.bounds(n),
            "for (int i = begin + thread; i < end; i += THREADS) {",
            f"  float sum = {start};",
            f"  for (int k = 0; k < {slices}; ++k) sum += {partials.name}[k * {ours} + i - begin];",
            f"  {self.handed_out(to, 'i', 'sum', '0', 1)}",
            "}",
        ]
        before = to.used() if adds else ()
        stored = self.stored_uses(to, by_unit(n))
        yield section(gather, [*partials.used(), *before, *stored])
