"""Sums along axes, taken while the values of a work are computed.

Sums that leave the same axes are taken together, in one of three ways:

    across      the last axis is summed over: some lanes have neighbouring terms of one result
    down        it is not: each thread has a result, or a slice of its terms
    to one      one number is left: every thread some terms

Letters: n units of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gatework.backends.gpu.block.memory import by_unit
from gatework.backends.gpu.block.products import PARTIALS
from gatework.backends.gpu.block.sections import Section, Use, indented, section
from gatework.compiler.passes import Fold
from gatework.lang.axes import SCALAR

if TYPE_CHECKING:
    from gatework.backends.gpu.block.nest import Nest

Kept = tuple[bool, ...]  # of each loop, whether a result has it

UNROLLED = (6, 8), (12, 4), (24, 2)  # terms computed together, by how many lines one has at most
SHUFFLE = 2  # what a sum over pairs of lanes takes longer than a term


def unrolled(body: Sequence[str]) -> int:
    """How many terms are computed together: fewer where one takes many registers."""
    return next((count for lines, count in UNROLLED if len(body) <= lines), 1)


class Folding:
    """Sums of a nest that leave the same axes.

    Args:
        nest: The nest.
        kept: The loops that are left.
        folds: The sums.
        stores: Whether the values of the work are stored on the way.
    """

    def __init__(self, nest: Nest, kept: Kept, folds: Sequence[Fold], *, stores: bool) -> None:
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
        if self.results == 1:
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

    def summed(self, first: str, step: str, turn: str = "") -> list[str]:
        """The statements that join terms from the first on, a step apart, of result `left`.

        They may begin with another one than the first, and go around.
        """
        nest, values = self.nest, self.nest.values()
        lines = values.numbers()
        indices = {**nest.counted("left", self.left), **nest.counted("term", self.over)}
        unit = nest.at([indices[loop] for loop in nest.loops])
        apart = [
            n for n in nest.work.reads
            if n.size != SCALAR and not any(nest.axes.has(n.size, loop) for loop in self.over)
        ]  # fmt: skip
        lines += values.read(apart, unit)
        results = [f.reduce.args[0] for f in self.folds]
        stored = [v for v, _ in nest.work.stores] if self.stores else []
        body, names = values.unit([*results, *stored], unit)
        for k, fold in enumerate(self.folds):
            term = names[fold.reduce.args[0]]
            body.append(f"sum_{k} = joined<{self.adds(fold)}>(sum_{k}, {term});")
        if self.stores:
            body += nest.stored(names, unit(nest.work.size))
        if turn:
            body.insert(0, f"const int term = (at + {turn}) % {self.terms};")
        at = "at" if turn else "term"
        return [
            *lines,
            f"#pragma unroll {unrolled(body)}",
            f"for (int {at} = {first}; {at} < {self.terms}; {at} += {step}) {{",
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
        lanes = self.lanes()
        teams, share = self.threads // lanes, self.share("across", lanes)
        # teams of a warp begin at other terms: theirs would be in the same banks of shared memory
        turned = lanes < 32 and self.terms % 32 == 0
        turn = f"thread % 32 / {lanes} * {lanes}" if turned else ""
        lines = [
            f"const int lane = thread % {lanes};",
            f"for (int first = 0; first < {self.results}; first += {teams}) {{",
            f"  const int left = first + thread / {lanes};",
            *indented(self.begun()),
            f"  if (left < {self.results}) {{",
            *indented(indented(self.summed("lane", str(lanes), turn))),
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

    def lanes(self) -> int:
        """The lanes of a result for which all take the least time, in terms: see `SHUFFLE`."""

        def time(lanes: int) -> int:
            rounds = -(-self.results * lanes // self.threads)
            return rounds * (-(-self.terms // lanes) + SHUFFLE * (lanes.bit_length() - 1))

        return min((lanes for lanes in (1, 2, 4, 8, 16, 32) if lanes <= self.threads), key=time)

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
        lines = ["const int left = 0;", *self.begun(), *self.summed("thread", "THREADS")]
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
        yield section(totals, [*partials.used(), *self.result_uses(by_unit(1))])

    def total_stored(self, k: int, fold: Fold) -> list[str]:
        """The statements that store a total: by one thread where it is not everywhere."""
        stores = self.stored(fold, "0", f"total_{k}")
        if fold.reduce.size == SCALAR:
            return stores
        return [f"if (thread == 0) {store}" for store in stores]
