"""Where the threads of a kernel wait for each other, from what its phases read and write.

Between two waits threads may be in different phases, so nobody may read there what another one
writes, nor overwrite what another one reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

ANYBODY = "anybody"  # every thread may touch all of it
EVERYBODY = "everybody"  # every thread writes all of it, the same numbers, and reads its own


@dataclass(frozen=True)
class Touch:
    """Memory that a phase reads or writes.

    Attributes:
        memory: The argument that points to it.
        share: Which thread touches which part of it: equal shares are the same thread's.
        writes: Whether it is written.
        part: The slot of a state, the step of a sequence; None where that is all of them.
    """

    memory: str
    share: str
    writes: bool = False
    part: int | None = None

    def meets(self, later: Touch) -> bool:
        """Whether two threads would disturb each other if nobody waited in between."""
        if self.memory != later.memory or not (self.writes or later.writes):
            return False
        if self.part is not None and later.part is not None and self.part != later.part:
            return False
        if self.share == later.share == EVERYBODY:
            return later.writes  # else each reads what it wrote itself
        return self.share != later.share or self.share == ANYBODY


@dataclass(frozen=True)
class Phase:
    """A part of a kernel that each thread runs its share of, and the memory that it touches."""

    name: str
    touches: frozenset[Touch]


def waits(phases: Sequence[Phase]) -> frozenset[str]:
    """The phases before which every thread waits for all others.

    A name that stands several times is a phase that is repeated, with the same wait each time.
    """
    found: set[str] = set()
    while (name := _disturbed(phases, found)) is not None:
        found.add(name)
    return frozenset(found)


def _disturbed(phases: Sequence[Phase], found: set[str]) -> str | None:
    """The first phase that meets what was touched since the last wait."""
    since: dict[str, set[Touch]] = defaultdict(set)
    for phase in phases:
        if phase.name in found:
            since.clear()
        for touch in phase.touches:
            if any(earlier.meets(touch) for earlier in since[touch.memory]):
                return phase.name
        for touch in phase.touches:
            since[touch.memory].add(touch)
    return None
