"""Rows that a step reads are fetched while the step before runs: memory is far away.

A thread loads its units of the next step's rows into registers when a step begins, and puts them
into the other one of two slots in shared memory when it ends.

In the text: t the time of a step, t_next that of the next one, more whether there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gatework.backends.gpu.block.memory import by_unit
from gatework.backends.gpu.block.sections import Section, section
from gatework.compiler.passes import Pass, Place
from gatework.lang.axes import SCALAR
from gatework.lang.sizes import Sizes

if TYPE_CHECKING:
    from gatework.backends.gpu.block.layout import Layout

REGISTERS = 24  # of a thread, for what has been loaded and is not there yet


def read_by(one: Pass) -> list[Place]:
    """The rows of sequences that a pass reads, each once."""
    works = (w for s in one.stages for w in s.works)
    read = [p for w in works for p in w.reads.values()]
    read += [p for s in one.stages for p in s.whole_rows()]
    return list(dict.fromkeys(p for p in read if p.kind == "step"))


def chosen(passes: Iterable[Pass], sizes: Sizes, threads: int) -> set[Place]:
    """The rows that are fetched: the short ones first, as many as registers hold."""
    found: set[Place] = set()
    for one in passes:
        held = 0
        for place in sorted(read_by(one), key=lambda p: sizes[p.size]):
            held += -(-sizes[place.size] // threads)
            if held <= REGISTERS:
                found.add(place)
    return found


class Fetching:
    """Writes what is fetched for the steps of a pass.

    Args:
        layout: Where everything lies.
        one: The pass.
    """

    def __init__(self, layout: Layout, one: Pass) -> None:
        self.layout = layout
        self.places = [p for p in read_by(one) if p in layout.fetched]

    def first(self) -> list[str]:
        """The rows of the first step, to where it reads them."""
        lines = []
        for place in self.places:
            value = self.layout.at(place, "t").read("i")
            lines += self.layout.each(place.size, [self.layout.here(place, 0).write("i", value)])
        return lines

    def begun(self) -> list[str]:
        """The rows of the next step, into registers."""
        return [line for p in self.places for line in self.begun_one(p)]

    def begun_one(self, place: Place) -> Iterator[str]:
        """One of them."""
        name, n = self.register(place), self.layout.units(place.size)
        yield f"el {name}[{self.registers(place)}];"
        yield "#pragma unroll"
        yield f"for (int u = 0; u < {self.registers(place)}; ++u) {{"
        yield f"  const int i = {'0' if n == 1 else 'thread + u * THREADS'};"
        yield f"  if (more && i < {n}) {name}[u] = *({self.layout.at(place, 't_next').at('i')});"
        yield "}"

    def ended(self) -> Iterator[Section]:
        """From there to where the next step reads them."""
        for place in (p for p in self.places if p.size != SCALAR):
            row, n = self.layout.here(place, 1), self.layout.units(place.size)
            line = f"put<{n}>({self.register(place)}, {row.name}, thread);"
            yield section([line], row.used(by_unit(n), writes=True))

    def moved(self) -> list[str]:
        """The single numbers, which every thread has."""
        single = (p for p in self.places if p.size == SCALAR)
        return [
            self.layout.here(p, 0).write("0", f"to_float({self.register(p)}[0])") for p in single
        ]

    def register(self, place: Place) -> str:
        """Where a thread holds its units of a row."""
        return f"{self.layout.name(place.argument)}_ahead"

    def registers(self, place: Place) -> int:
        """How many it holds."""
        return -(-self.layout.units(place.size) // self.layout.threads)
