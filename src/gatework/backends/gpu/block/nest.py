"""The values of a work with axes: every unit once, and sums along axes on the way.

Units are counted through, the last axis fastest, so that neighbouring threads have neighbouring
units. Where sums of one work leave different axes, the values are computed once for each kind; the
last one also stores what is stored.

Letters: n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gatework.backends.gpu.block.folding import Folding, Kept
from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import by_unit
from gatework.backends.gpu.block.sections import Section, Use, indented, section
from gatework.backends.gpu.block.values import At, Values
from gatework.compiler.nests import axes_of
from gatework.compiler.passes import Fold, Lowered, Work
from gatework.compiler.waiting import ANYBODY
from gatework.lang.expressions import Expr


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
            yield from Folding(self, kept, folds, stores=bool(stores)).sections()

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
