"""The values of a work with axes: every unit once, and sums along axes on the way.

Units are counted through, the last axis fastest, so that neighbouring threads have neighbouring
units. Sums that leave the same axes are taken together, in one of three ways:

    across      the last axis is summed over: some lanes have neighbouring terms of one result
    down        it is not: each thread has a result, or a slice of its terms
    to one      a single number is left: every thread some terms

Where sums of one work leave different axes, the values are computed once for each kind; the last
one also stores what is stored.

Letters: n units of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import by_unit
from gatework.backends.gpu.block.products import PARTIALS
from gatework.backends.gpu.block.sections import Section, Use, indented, section
from gatework.backends.gpu.block.values import At, Values
from gatework.compiler.nests import axes_of
from gatework.compiler.passes import Fold, Lowered, Work
from gatework.compiler.waiting import ANYBODY
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Expr

SHORT = 12  # lines of a term of which four are computed together

Kept = tuple[bool, ...]  # of each loop, whether a result has it


class Nest:
    """A work with axes.

    Args:
        layout: Where everything lies.
        stage: The stage of the work.
        work: The work.
    """

    def __init__(self, layout: Layout, stage: Lowered, work: Work) -> None:
        self.layout, self.stage, self.work = layout, stage, work
        self.axes = axes_of(work, layout.sizes)
        self.loops = range(len(self.axes.lengths))
        self.n = layout.units(work.size)

    def sections(self) -> Iterator[Section]:
        """Every kind of sum, the values that are stored with the last."""
        together: dict[Kept, list[Fold]] = {}
        for fold in self.work.folds:
            together.setdefault(self.kept(fold.reduce.size), []).append(fold)
        if not together:
            yield self.each_unit()
        for k, (kept, folds) in enumerate(together.items(), 1):
            stores = self.work.stores if k == len(together) else ()
            yield from Folding(self, kept, folds, bool(stores)).sections()

    def kept(self, size: str) -> Kept:
        """The loops that a value has."""
        return tuple(self.axes.has(size, loop) for loop in self.loops)

    def at(self, indices: Sequence[str]) -> At:
        """Where the units of each size lie, from the index of each loop."""

        def unit(size: str) -> str:
            pairs = zip(indices, self.axes.pitches(size), strict=True)
            return " + ".join(f"{index} * {pitch}" for index, pitch in pairs if pitch) or "0"

        return unit

    def counted(self, name: str, loops: Sequence[int], thread: bool = False) -> dict[int, str]:
        """The index of each of some loops, from a number that counts through them."""
        found, pitch = {}, 1
        for loop in reversed(loops):
            length = self.axes.lengths[loop]
            by_thread = thread and pitch == 1 and self.layout.threads % length == 0
            counter = "thread" if by_thread else name
            whole = counter if pitch == 1 else f"{counter} / {pitch}"
            found[loop] = whole if loop == loops[0] and not by_thread else f"{whole} % {length}"
            pitch *= length
        return {loop: f"({index})" for loop, index in found.items()}

    def values(self) -> Values:
        """The values of the work."""
        return Values(self.layout, self.stage, self.work, {})

    def each_unit(self) -> Section:
        """Values that are stored, unit by unit."""
        values, indices = self.values(), self.counted("i", self.loops, thread=True)
        at = self.at([indices[loop] for loop in self.loops])
        lines = values.numbers()
        body, names = values.unit([v for v, _ in self.work.stores], at)
        lines += [
            f"for (int i = thread; i < {self.n}; i += THREADS) {{",
            *indented([*body, *self.stored(names, "i")]),
            "}",
        ]
        return section(lines, self.uses(by_unit(self.n), stores=True))

    def stored(self, names: Mapping[Expr, str], unit: str) -> list[str]:
        """The statements that store the values of a unit."""
        return [
            m.write(unit, names[value])
            for value, places in self.work.stores for p in places for m in self.layout.written(p)
        ]  # fmt: skip

    def uses(self, share: str, *, stores: bool) -> list[Use]:
        """What is touched by whoever computes each unit, its number among the units being known."""
        found: list[Use] = []
        for node, place in self.work.reads.items():
            own = share if all(self.kept(node.size)) else ANYBODY
            found += self.layout.read(place).used(own)
        if stores:
            places = (p for _, places in self.work.stores for p in places)
            memories = (m for p in places for m in self.layout.written(p))
            found += [u for m in memories for u in m.used(share, writes=True)]
        return found


def unrolled(body: Sequence[str]) -> int:
    """How many terms are computed together: fewer where one takes many registers."""
    return 4 if len(body) <= SHORT else 2 if len(body) <= 2 * SHORT else 1


class Folding:
    """Sums of a nest that leave the same axes.

    Args:
        nest: The nest.
        kept: The loops that are left.
        folds: The sums.
        stores: Whether the values of the work are stored on the way.
    """

    def __init__(self, nest: Nest, kept: Kept, folds: Sequence[Fold], stores: bool) -> None:
        self.nest, self.folds, self.stores = nest, folds, stores
        self.layout, self.threads = nest.layout, nest.layout.threads
        self.left = [loop for loop in nest.loops if kept[loop]]
        self.over = [loop for loop in nest.loops if not kept[loop]]
        lengths = nest.axes.lengths
        self.results = math.prod(lengths[loop] for loop in self.left)
        self.terms = math.prod(lengths[loop] for loop in self.over)
        self.kept = kept

    def sections(self) -> Iterator[Section]:
        """The sums."""
        if self.folds[0].reduce.size == SCALAR:
            yield from self.to_one()
        elif self.kept[-1]:
            yield from self.down()
        else:
            yield self.across()

    # ---- the terms -----------------------------------------------------------------------------

    def adds(self, fold: Fold) -> str:
        """Whether it is a sum, in C."""
        return str(fold.adds).lower()

    def begun(self) -> list[str]:
        """What every sum begins with."""
        return [f"float sum_{k} = neutral<{self.adds(f)}>();" for k, f in enumerate(self.folds)]

    def summed(self, first: str, step: str) -> list[str]:
        """The statements that join terms from the first on, a step apart, of result `left`."""
        nest, values = self.nest, self.nest.values()
        lines = values.numbers()
        indices = {**nest.counted("left", self.left), **nest.counted("term", self.over)}
        at = nest.at([indices[loop] for loop in nest.loops])
        apart = [
            n for n in nest.work.reads
            if n.size != SCALAR and not any(nest.axes.has(n.size, loop) for loop in self.over)
        ]  # fmt: skip
        lines += values.read(apart, at)
        results = [f.reduce.args[0] for f in self.folds]
        stored = [v for v, _ in nest.work.stores] if self.stores else []
        body, names = values.unit([*results, *stored], at)
        for k, fold in enumerate(self.folds):
            term = names[fold.reduce.args[0]]
            body.append(f"sum_{k} = joined<{self.adds(fold)}>(sum_{k}, {term});")
        if self.stores:
            body += nest.stored(names, at(nest.work.size))
        return [
            *lines,
            f"#pragma unroll {unrolled(body)}",
            f"for (int term = {first}; term < {self.terms}; term += {step}) {{",
            *indented(body),
            "}",
        ]

    def stored(self, fold: Fold, unit: str, value: str) -> list[str]:
        """The statements that store a result."""
        return [m.write(unit, value) for p in fold.places for m in self.layout.written(p)]

    def sums_stored(self) -> list[str]:
        """The statements that store result `left` of every sum."""
        return [s for k, f in enumerate(self.folds) for s in self.stored(f, "left", f"sum_{k}")]

    def result_uses(self, share: str) -> list[Use]:
        """What is touched where results are stored."""
        memories = (m for f in self.folds for p in f.places for m in self.layout.written(p))
        return [u for m in memories for u in m.used(share, writes=True)]

    def share(self, way: str, count: int) -> str:
        """Who has which unit of the work."""
        return f"{way} {self.left} of {self.nest.axes.lengths} by {count}"

    # ---- the ways ------------------------------------------------------------------------------

    def across(self) -> Section:
        """Some lanes for each result."""
        lanes = 1
        while lanes < min(32, self.terms):
            lanes *= 2
        teams, share = self.threads // lanes, self.share("across", lanes)
        lines = [
            f"const int lane = thread % {lanes};",
            f"for (int first = 0; first < {self.results}; first += {teams}) {{",
            f"  const int left = first + thread / {lanes};",
            *indented(self.begun()),
            f"  if (left < {self.results}) {{",
            *indented(indented(self.summed("lane", str(lanes)))),
            "  }",
        ]
        for k, fold in enumerate(self.folds):
            lines.append(f"  sum_{k} = joined<{self.adds(fold)}, {lanes}>(sum_{k});")
        lines += [
            f"  if (lane == 0 && left < {self.results}) {{",
            *indented(indented(self.sums_stored())),
        ]
        own = f"{lanes} lanes a unit of {self.results}"
        uses = [*self.nest.uses(share, stores=self.stores), *self.result_uses(own)]
        return section([*lines, "  }", "}"], uses)

    def down(self) -> Iterator[Section]:
        """A thread for each result, or for a slice of its terms."""
        slices = max(1, min(self.threads // self.results, self.terms))
        share = self.share("down", slices)
        if slices == 1:
            lines = [
                f"for (int left = thread; left < {self.results}; left += THREADS) {{",
                *indented([*self.begun(), *self.summed("0", "1"), *self.sums_stored()]),
                "}",
            ]
            uses = self.nest.uses(share, stores=self.stores)
            yield section(lines, [*uses, *self.result_uses(by_unit(self.results))])
            return
        count = slices * self.results
        partials = self.layout.own(PARTIALS, count * len(self.folds))
        own = (f"{partials.name}[{k * count} + thread]" for k in range(len(self.folds)))
        lines = [
            f"if (thread < {count}) {{",
            f"  const int left = thread % {self.results}, slice = thread / {self.results};",
            *indented([*self.begun(), *self.summed("slice", str(slices))]),
            *(f"  {partial} = sum_{k};" for k, partial in enumerate(own)),
            "}",
        ]
        uses = self.nest.uses(share, stores=self.stores)
        yield section(lines, [*uses, *partials.used(writes=True)])
        yield self.slices_joined(partials.name, slices)

    def slices_joined(self, partials: str, slices: int) -> Section:
        """The slices of every result."""
        lines = [f"for (int left = thread; left < {self.results}; left += THREADS) {{"]
        for k, fold in enumerate(self.folds):
            at = f"{partials}[{k * slices * self.results} + slice * {self.results} + left]"
            lines += [
                f"  float sum_{k} = neutral<{self.adds(fold)}>();",
                f"  for (int slice = 0; slice < {slices}; ++slice)",
                f"    sum_{k} = joined<{self.adds(fold)}>(sum_{k}, {at});",
                *indented(self.stored(fold, "left", f"sum_{k}")),
            ]
        read = self.layout.own(PARTIALS, 0).used()
        return section([*lines, "}"], [*read, *self.result_uses(by_unit(self.results))])

    def to_one(self) -> Iterator[Section]:
        """Every thread some terms, then the warps together in every thread."""
        warps = self.layout.warps
        partials = self.layout.own(PARTIALS, warps * len(self.folds))
        lines = [*self.begun(), *self.summed("thread", "THREADS")]
        totals = []
        for k, fold in enumerate(self.folds):
            lines += [
                f"sum_{k} = joined<{self.adds(fold)}, 32>(sum_{k});",
                f"if (thread % 32 == 0) {partials.name}[{k * warps} + thread / 32] = sum_{k};",
            ]
            whole = f"joined_warps<{self.adds(fold)}>({partials.name} + {k * warps})"
            totals += [
                f"const float total_{k} = {whole};",
                *self.stored(fold, "0", f"total_{k}"),
            ]
        uses = self.nest.uses(by_unit(self.nest.n), stores=self.stores)
        yield section(lines, [*uses, *partials.used(writes=True)])
        yield section(totals, partials.used())
