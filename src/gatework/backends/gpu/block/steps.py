"""The steps of a pass: a loop, with what is fetched for the next step on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gatework.backends.gpu.block.fetching import Fetching
from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.sections import Section, indented, waited
from gatework.backends.gpu.block.works import sections_of
from gatework.compiler.passes import When
from gatework.lang.axes import SCALAR


class Steps:
    """Writes the loop of a pass.

    Args:
        layout: Where everything lies.
        name: The pass: "step" or "replay".
        clock: The lines that say what a step is, from its number.
        before: Sections before those of the pass.
    """

    def __init__(
        self, layout: Layout, name: When, clock: Sequence[str], before: Sequence[Section] = ()
    ) -> None:
        one = layout.replay if name == "replay" else layout.step
        assert one is not None  # whoever replays has that pass
        self.layout, self.name, self.clock = layout, name, clock
        self.fetching = Fetching(layout, one)
        sections = [*before, *sections_of(layout, one, name), *self.fetching.ended()]
        self.lines = waited(sections)

    def first(self, begin: str) -> list[str]:
        """What the first step reads, from the line that says which one that is."""
        lines = [begin, *self.clock, *self.slots(), *self.fetching.first()]
        return ["{", *indented(lines), "}"]

    def all(self, loop: str) -> list[str]:
        """Every step, from the head of the loop."""
        body = [
            *self.clock,
            *self.slots(),
            *self.fetching.begun(),
            *self.lines,
            *self.fetching.moved(),
            *(self.carried() if self.name == "step" else ()),
        ]
        return [f"{loop} {{", *indented(body), "}"]

    def slots(self) -> Iterator[str]:
        """The addresses of rows that have several slots."""
        for name, pitch in self.layout.pairs.items():
            yield f"float* const {name}_now = {name} + (k & 1) * {pitch};"
            yield f"float* const {name}_next = {name} + (k + 1 & 1) * {pitch};"
        for state, replay in self.layout.replays.items():
            name, pitch = self.layout.name(f"state {state}"), self.layout.pitch(replay.state.size)
            yield f"float* const {name}_now = {name} + (f & STRETCH - 1) * {pitch};"
            yield f"float* const {name}_next = {name}_now + {pitch};"

    def carried(self) -> list[str]:
        """New single numbers become old ones."""
        states = (s for s in self.layout.plan.recurrence.states if s.size == SCALAR)
        pairs = (
            (self.layout.name(f"state {s.name} old"), self.layout.name(f"state {s.name} new"))
            for s in states
        )
        return [f"{old} = {new};" for old, new in pairs if new in self.layout.variables]
