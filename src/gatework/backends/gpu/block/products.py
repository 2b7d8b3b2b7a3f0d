"""Sums of products: matrices read as they lie, from shared memory or through the level-2 cache.

A product W v has a few threads for each row of W, which read neighbouring columns: eight of them
read a line of 128 bytes. A product Wᵀ v has a thread for a few neighbouring columns of W and a
slice of its rows. Sums go to a row of their own; those of one shape are computed in one loop.

Letters: n units of the result, K the length of a product's sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gatework.backends.gpu.block.factors import Factor, chosen
from gatework.backends.gpu.block.layout import LANES, Layout
from gatework.backends.gpu.block.memory import Row, by_unit
from gatework.backends.gpu.block.sections import Section, Use, section
from gatework.backends.gpu.loop import BYTES
from gatework.compiler.passes import Lowered, Sum
from gatework.lang.expressions import Expr

PARTIALS = "partials"  # memory for what several threads have of a sum


class Summed(NamedTuple):
    """Products that are added, and where their sum goes."""

    factors: tuple[Factor, ...]
    to: Row


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
        straight, turned = ([*self.summed(sums, rows, way)] for way in (False, True))
        for together in _of_one_shape(straight):
            yield self.rows_of(together)
        begun = {s.to for s in straight}
        for adds in (False, True):
            for together in _of_one_shape([s for s in turned if (s.to in begun) is adds]):
                yield from self.columns_of(together, adds=adds)
        if sums and self.layout.team > 1:
            all_here = [u for to in rows for u in to.used(by_unit(to.units), writes=True)]
            yield section(["sync_cluster();"], all_here)

    def summed(self, sums: Sequence[Sum], rows: Sequence[Row], turned: bool) -> Iterator[Summed]:
        """The products of each sum that are with W, or with Wᵀ."""
        for total, to in zip(sums, rows, strict=True):
            share = self.layout.share(to.units, self.vector)
            products = [p for p in total.products if p.transposed is turned]
            if products:
                factors = (Factor(self.layout, p, self.operand(p.args[0]), share) for p in products)
                yield Summed(tuple(factors), to)

    @property
    def vector(self) -> int:
        """Units of a result that stay together: as many elements as are read together."""
        return 16 // BYTES[self.layout.setting.element]

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

    # ---- units of a team -----------------------------------------------------------------------

    def ours(self, n: int) -> int:
        """How many units of a result a block computes, at most."""
        return min(n, self.layout.share(n, self.vector))

    def bounds(self, n: int) -> list[str]:
        """Which units of a result a block computes."""
        if self.layout.team == 1:
            return [f"constexpr int begin = 0, end = {n};"]
        share = self.layout.share(n, self.vector)
        stop = f"begin + {share} < {n} ? begin + {share} : {n}"
        return [f"const int begin = rank * {share}, end = {stop};"]

    def handed_out(self, to: str, value: str, lane: str, lanes: int) -> str:
        """The statement that stores a unit, in every block of a team: by lanes that have it."""
        if self.layout.team == 1:
            return f"if ({lane} == 0) {to} = {value};"
        loop = f"for (int other = {lane}; other < {self.layout.team}; other += {lanes})"
        return f"{loop} store_in(in_block(shared_address(&{to}), other), {value});"

    def stored_uses(self, to: Row, share: str) -> tuple[Use, ...]:
        """What is touched where units are stored; of a team's rows, when all are there."""
        return () if self.layout.team > 1 else to.used(share, writes=True)

    # ---- W v -----------------------------------------------------------------------------------

    def rows_of(self, together: Sequence[Summed]) -> Section:
        """A few lanes for each row of each sum."""
        n, count = together[0].to.units, len(together)
        ours, factors = self.ours(n), [s.factors for s in together]
        lanes = self.lanes(factors[0], count * ours)
        parts = [Factor.of_row([f[k] for f in factors], lanes) for k in range(len(factors[0]))]
        to, teams = chosen([s.to.name for s in together]), self.layout.threads // lanes
        lines = [
            *self.bounds(n),
            f"const int lane = thread % {lanes};",
            f"for (int first = 0; first < {count * ours}; first += {teams}) {{",
            f"  const int task = first + thread / {lanes}, which = task / {ours};",
            f"  const int unit = begin + task % {ours};",
            f"  const bool there = which < {count} && unit < end;",
            f"  const float part = there ? {' + '.join(parts)} : 0.0f;",
            f"  const float sum = joined<true, {lanes}>(part);",
            f"  if (there) {self.handed_out(f'({to})[unit]', 'sum', 'lane', lanes)}",
            "}",
        ]
        uses = [u for s in together for f in s.factors for u in f.row.used()]
        own = f"{lanes} lanes a unit of {n}, {count} rows"
        return section(lines, [*uses, *(u for s in together for u in self.stored_uses(s.to, own))])

    def lanes(self, factors: Sequence[Factor], rows: int) -> int:
        """Threads of a row: more than usual where there are few rows."""
        pieces = max(-(-f.width // f.vector) for f in factors)
        lanes = 1
        while lanes < min(pieces, 32) and (
            lanes < LANES or 2 * lanes * rows <= self.layout.threads
        ):
            lanes *= 2
        return lanes

    # ---- Wᵀ v ----------------------------------------------------------------------------------

    def columns_of(self, together: Sequence[Summed], *, adds: bool) -> Iterator[Section]:
        """A thread for some columns and a slice of the rows; then the slices of each unit."""
        n, count, threads = together[0].to.units, len(together), self.layout.threads
        ours, factors = self.ours(n), [s.factors for s in together]
        vector = min(f.vector for f in factors[0])
        groups = ours // vector
        slices = max(1, min(threads // (groups * count), max(f.height for f in factors[0])))
        partials = self.layout.own(PARTIALS, count * slices * ours)
        terms = [
            Factor.of_columns([f[k] for f in factors], slices, vector)
            for k in range(len(factors[0]))
        ]
        lines = [
            *self.bounds(n),
            f"for (int at = thread; at < {count * slices * groups}; at += THREADS) {{",
            f"  const int which = at / {slices * groups}, slice = at / {groups} % {slices};",
            f"  const int unit = begin + at % {groups} * {vector};",
            "  if (unit >= end) continue;",
            f"  float sums[{vector}] = {{}};",
            *(f"  {term}" for term in terms),
            f"  float* const parts = {partials.name} + at / {groups} * {ours} + unit - begin;",
            f"  for (int k = 0; k < {vector}; ++k) parts[k] = sums[k];",
            "}",
        ]
        uses = [u for s in together for f in s.factors for u in f.row.used()]
        yield section(lines, [*uses, *partials.used(writes=True)])
        yield self.slices_added([s.to for s in together], slices, adds=adds)

    def slices_added(self, rows: Sequence[Row], slices: int, *, adds: bool) -> Section:
        """The slices of every unit of some sums."""
        n, partials = rows[0].units, self.layout.own(PARTIALS, 0)
        ours, uses = self.ours(n), [*partials.used()]
        lines = self.bounds(n)
        for k, to in enumerate(rows):
            first = f"{partials.name} + {k * slices * ours} + i - begin"
            start = to.read("i") if adds else "0.0f"
            lines += [
                "for (int i = begin + thread; i < end; i += THREADS) {",
                f"  const float sum = {start} + added_slices<{slices}, {ours}>({first});",
                f"  {self.handed_out(to.read('i'), 'sum', '0', 1)}",
                "}",
            ]
            uses += [*(to.used() if adds else ()), *self.stored_uses(to, by_unit(n))]
        return section(lines, uses)


def _of_one_shape(summed: Sequence[Summed]) -> list[list[Summed]]:
    """The sums that one loop computes: of as many units each, of matrices of the same shapes."""
    found: dict[object, list[Summed]] = {}
    for one in summed:
        key = one.to.units, tuple(f.shape for f in one.factors)
        found.setdefault(key, []).append(one)
    return list(found.values())
