"""A step as sections of text, and where the threads of a block wait between them.

A section says what memory it reads and writes and which thread has which unit of it. Where the next
section reads what other threads wrote, or overwrites what they read, all wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatework.compiler.waiting import Phase, Touch, waits

STEPS = 3  # steps that are looked at: in the third, each of two slots is used again
WAIT = "sync_block();"


@dataclass(frozen=True)
class Use:
    """Memory that a section reads or writes.

    Attributes:
        memory: Its name.
        share: Which thread has which unit: equal shares are the same thread's.
        writes: Whether it is written.
        ahead: Of a state in two slots: 0 of the slot before the step, 1 of that after it.
    """

    memory: str
    share: str
    writes: bool = False
    ahead: int | None = None

    def touch(self, step: int) -> Touch:
        """What is touched in a step."""
        part = None if self.ahead is None else (step + self.ahead) % 2
        return Touch(self.memory, self.share, self.writes, part)


@dataclass(frozen=True)
class Section:
    """Lines that every thread runs, and the memory that they touch."""

    lines: tuple[str, ...]
    uses: frozenset[Use]

    def phase(self, name: str, step: int) -> Phase:
        """What it touches in a step."""
        return Phase(name, frozenset(use.touch(step) for use in self.uses))


def section(lines: Iterable[str], uses: Iterable[Use]) -> Section:
    """A section of some lines."""
    return Section(tuple(lines), frozenset(uses))


def waited(sections: Sequence[Section]) -> list[str]:
    """The lines of a step that is repeated, with a wait before each section that needs one."""
    steps = [s.phase(str(k), i) for i in range(STEPS) for k, s in enumerate(sections)]
    needed = waits(steps)
    lines = []
    for k, s in enumerate(sections):
        lines += [WAIT] if str(k) in needed else []
        lines += ["{", *indented(s.lines), "}"]
    return lines


def indented(lines: Iterable[str]) -> list[str]:
    """The lines, one level further in."""
    return [f"  {line}" for line in lines]
