"""A stage as sections: reductions, arrangements, then the works by size."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.backends.gpu.block.arranging import arrangement
from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import Row, by_unit
from gatework.backends.gpu.block.nest import Nest
from gatework.backends.gpu.block.products import PARTIALS, Products
from gatework.backends.gpu.block.sections import Section, Use, indented, section
from gatework.backends.gpu.block.values import At, Values
from gatework.compiler.passes import Lowered, Pass, Work
from gatework.lang.axes import SCALAR, has_axes
from gatework.lang.expressions import Expr


def sections_of(layout: Layout, one: Pass, name: str) -> list[Section]:
    """A pass as sections, whose own rows are named after it."""
    return [
        s for k, stage in enumerate(one.stages)
        for s in StageWriter(layout, stage, f"{name} {k}").sections()
    ]  # fmt: skip


class StageWriter:
    """Writes one stage.

    Args:
        layout: Where everything lies.
        stage: The stage.
        name: What rows of its own are named after.
    """

    def __init__(self, layout: Layout, stage: Lowered, name: str) -> None:
        self.layout, self.stage, self.name = layout, stage, name

    def sections(self) -> Iterator[Section]:
        """All that it does."""
        yield from self.reductions()
        for node, place in self.stage.arrangements:
            sources = [self.layout.read(self.stage.known[a]) for a in node.args]
            yield arrangement(self.layout, node, sources, self.layout.written(place))
        for k, work in enumerate(self.stage.works):
            yield from self.work(work, f"{self.name} {k}")

    # ---- reductions ----------------------------------------------------------------------------

    def reductions(self) -> Iterator[Section]:
        """What each warp has of every sum or maximum, then the whole in every thread."""
        if not self.stage.reductions:
            return
        warps = self.layout.warps
        partials = self.layout.own(PARTIALS, len(self.stage.reductions) * warps)
        parts: list[str] = []
        totals: list[str] = []
        read: list[Use] = []
        for k, (reduce, place) in enumerate(self.stage.reductions):
            source = self.layout.read(self.stage.known[reduce.args[0]])
            adds = str(reduce.function == "sum").lower()
            read += source.used(by_unit(source.units))
            parts += [
                f"float part_{k} = neutral<{adds}>();",
                f"for (int i = thread; i < {source.units}; i += THREADS)",
                f"  part_{k} = joined<{adds}>(part_{k}, {source.read('i')});",
                f"part_{k} = joined<{adds}, 32>(part_{k});",
                f"if (thread % 32 == 0) {partials.name}[{k * warps} + thread / 32] = part_{k};",
            ]
            whole = f"joined_warps<{adds}>({partials.name} + {k * warps})"
            totals.append(f"const float total_{k} = {whole};")
            totals += [m.write("0", f"total_{k}") for m in self.layout.written(place)]
        yield section(parts, [*read, *partials.used(writes=True)])
        yield section(totals, partials.used())

    # ---- works ---------------------------------------------------------------------------------

    def work(self, work: Work, name: str) -> Iterator[Section]:
        """The sums of products, then the values."""
        rows = [self.sums(work, k, name) for k in range(len(work.sums))]
        yield from Products(self.layout, self.stage, name).sections(work.sums, rows)
        if has_axes(work.size) and not work.sums:
            yield from Nest(self.layout, self.stage, work).sections()
        elif work.size == SCALAR and work.per is None:
            yield self.single_numbers(work, rows)
        else:
            yield self.unit_by_unit(work, rows)

    def sums(self, work: Work, k: int, name: str) -> Row:
        """The row of a sum of products."""
        units = self.layout.units(work.sums[k].products[0].size)
        if self.layout.team > 1:  # who is a step ahead writes into the other slot
            return self.layout.pair(f"sum {name} {k}", work.sums[k].products[0].size, 0)
        return self.layout.own(f"sum {name} {k}", units)

    def values(self, work: Work, rows: list[Row], unit: str) -> Values:
        """The values of a work, whose sums lie in rows."""
        pairs = zip(work.sums, rows, strict=True)
        sums: dict[Expr, str] = {p: row.read(unit) for s, row in pairs for p in s.products}
        return Values(self.layout, self.stage, work, sums)

    def single_numbers(self, work: Work, rows: list[Row]) -> Section:
        """Every thread computes them: nobody has to wait."""
        values = self.values(work, rows, "0")
        lines = [*values.numbers(), *self.stored(values, lambda size: "0")]
        return section(lines, [u for row in rows for u in row.used()])

    def unit_by_unit(self, work: Work, rows: list[Row]) -> Section:
        """Each thread some units."""
        values = self.values(work, rows, "i")
        n = rows[0].units if work.per else self.layout.units(work.size)
        share = by_unit(n)
        lines = [
            *values.numbers(),
            f"for (int i = thread; i < {n}; i += THREADS) {{",
            *indented(self.stored(values, lambda size: "i")),
            "}",
        ]
        uses = [u for p in work.reads.values() for u in self.layout.read(p).used(share)]
        uses += [u for row in rows for u in row.used(share)]
        return section(lines, [*uses, *stored_uses(self.layout, work, share)])

    def stored(self, values: Values, at: At) -> list[str]:
        """The statements that compute and store the values of a unit: a state may lie in place."""
        stores = values.work.stores
        lines, names = values.unit([v for v, _ in stores], at)
        for value, places in stores:
            targets = (m for p in places for m in self.layout.written(p))
            lines += [m.write(at(value.size), names[value]) for m in targets]
        return lines


def stored_uses(layout: Layout, work: Work, share: str) -> list[Use]:
    """What a work touches where it stores its values."""
    places = (p for _, places in work.stores for p in places)
    memories = (m for p in places for m in layout.written(p))
    return [u for m in memories for u in m.used(share, writes=True)]
