"""What is read of held-out data: long sequences window by window, short ones as a whole.

T  time steps      B  sequences side by side      N  sequences
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gatework.reports.subject import Read, Subject
from gatework.tasks.held_out import HeldOut, Place

__all__ = ["Window", "batches", "carried", "windows_of"]

MOST_STEPS = 1 << 18
"""Held-out steps read at most; of one long sequence its first."""
MOST_SEQUENCES = 2048
WINDOW, MOST_STREAMS = 256, 32
"""Steps after which a long sequence is cut; how many parts of one are read side by side."""
FEW = 32
"""Steps of a window that are too few where there are more."""


class Window(NamedTuple):
    """Places of equal lengths that are read side by side."""

    places: tuple[Place, ...]
    fresh: bool
    """Whether they begin here, and do not go on where the window before ends."""


def windows_of(held_out: HeldOut) -> list[Window]:
    """Return what is read, two windows at least, since units are judged on every second.

    Sequences of equal length are read side by side, and a sequence of many windows in parts side by
    side. Those that are shorter than two windows are read whole.

    Example:
        >>> from types import SimpleNamespace
        >>> [(len(w.places), w.fresh) for w in windows_of(SimpleNamespace(lengths=np.array([64])))]
        [(1, True), (1, False)]
    """
    every = _chosen(held_out.lengths)
    if len(every) == 1:
        return list(_cut(every, _window(every[0].last)))
    found: list[Window] = []
    for length in sorted({place.last for place in every}):
        alike = [place for place in every if place.last == length]
        if length < 2 * WINDOW:
            found += _whole(alike)
        else:
            for begin in range(0, len(alike), MOST_STREAMS):
                found += _cut(alike[begin : begin + MOST_STREAMS], WINDOW)
    return found


def _chosen(lengths: NDArray[np.int64]) -> list[Place]:
    """Sequences to read: all where that is not too much, else some of all lengths."""
    count = min(len(lengths), MOST_SEQUENCES)
    if lengths.sum() > MOST_STEPS:
        count = min(count, max(1, MOST_STEPS // int(lengths.max())))
    order = np.argsort(lengths, kind="stable")[::-1]  # the longest is always among them
    some = np.sort(order[np.linspace(0, len(order) - 1, count).astype(int)])
    return [Place(int(n), 0, min(int(lengths[n]), MOST_STEPS)) for n in some]


def _window(length: int) -> int:
    """Steps of a window of the only sequence: a seventh of it, but not few and not too many.

    Every second window is judged on, and seven of them lie at all days of the week.
    """
    return min(WINDOW, max(length // 7, min(length // 2, FEW)))


def _cut(alike: list[Place], window: int) -> Iterator[Window]:
    """Sequences of one length in windows, in parts side by side where they are few and long."""
    length = alike[0].last
    streams = max(1, min(MOST_STREAMS // len(alike), length // (8 * WINDOW)))
    stretch = length // streams // window * window
    starts = [(p.sequence, stream * stretch) for p in alike for stream in range(streams)]
    for begin in range(0, stretch, window):
        places = (Place(n, start + begin, start + begin + window) for n, start in starts)
        yield Window(tuple(places), begin == 0)


def _whole(alike: list[Place]) -> Iterator[Window]:
    """Sequences of one length, in two windows or more.

    Each has some from all over the file, in which sequences of one class often stand together.
    """
    room = max(1, MOST_STREAMS * WINDOW // alike[0].last)
    count = max(min(2, len(alike)), -(-len(alike) // room))
    for k in range(count):
        yield Window(tuple(alike[k::count]), fresh=True)


Labelled = tuple[Read, dict[str, NDArray[Any]]]
"""What is read, and by name a property at each step [T, B]."""


def batches(subject: Subject, windows: list[Window]) -> Iterator[Labelled]:
    """Yield what windows hold, with the properties that units may follow."""
    for places, fresh in windows:
        own = [subject.held_out.properties(place) for place in places]
        labels = {name: np.stack([one[name] for one in own], 1) for name in own[0]}
        yield subject.read(places, fresh=fresh), labels


def carried(subject: Subject) -> Callable[[nn.Module, Read], Any]:
    """A way to run a subject's model on windows: the state goes from each to the next."""
    state: Any = None

    def run(_: nn.Module, read: Read) -> Any:
        nonlocal state
        known = state if subject.carries and not read.fresh else None
        result, state = subject.run(read, known)
        return result

    return run
