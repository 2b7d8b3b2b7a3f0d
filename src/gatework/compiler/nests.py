"""The loops that run over the values of a work with axes.

Axes that every value of the work has together are one loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gatework.compiler.passes import Work
from gatework.lang.axes import SCALAR, slots


@dataclass(frozen=True)
class Axes:
    """The loops of a nest.

    Attributes:
        groups: The places in a size of the axes that each loop runs over, from the outermost in.
        lengths: How long each loop is.
    """

    groups: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]

    def has(self, size: str, loop: int) -> bool:
        """Whether a value of a size has the axes of a loop."""
        return size != SCALAR and slots(size)[self.groups[loop][0]] != SCALAR

    def pitches(self, size: str) -> tuple[int, ...]:
        """How far apart the units of a value lie that differ by one in a loop; 0 if it lacks it."""
        pitches, pitch = [], 1
        for loop in reversed(range(len(self.lengths))):
            pitches.append(pitch if self.has(size, loop) else 0)
            pitch *= self.lengths[loop] if self.has(size, loop) else 1
        return tuple(reversed(pitches))


def axes_of(work: Work, sizes: Mapping[str, int]) -> Axes:
    """The loops over the axes of a work, neighbours that nobody tells apart in one."""
    named = [k for k, axis in enumerate(slots(work.size)) if axis != SCALAR]
    met = {n.size for n in (*work.reads, *(f.reduce for f in work.folds))} - {SCALAR}
    groups: list[list[int]] = []
    for k in named:
        together = groups and all(
            (slots(s)[k] == SCALAR) == (slots(s)[groups[-1][-1]] == SCALAR) for s in met
        )
        if together:
            groups[-1].append(k)
        else:
            groups.append([k])
    lengths = (math.prod(sizes[slots(work.size)[k]] for k in group) for group in groups)
    return Axes(tuple(map(tuple, groups)), tuple(lengths))
