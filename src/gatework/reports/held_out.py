"""A model on its held-out data: how far back it remembers, and what its gates do on a passage.

T  time steps      B  stretches of the data      N  sequences
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gatework.errors import InputError
from gatework.lang.sizes import Sizes
from gatework.lens import MemoryHorizon, Passage, memory_horizon, read_passage, watch
from gatework.lens.watching import recurrent_layers
from gatework.reports.subject import Read, Subject
from gatework.tasks.held_out import HeldOut, Place, Track

__all__ = [
    "ANCHORS_AT_ONCE",
    "FAR_LAG",
    "LEAST_HELD_OUT",
    "MAX_LAG",
    "Shown",
    "check_held_out",
    "horizon_of",
    "passage_of",
    "sequences_at_once",
    "span_of",
    "spread_places",
]

LEAST_HELD_OUT = 64
"""Held-out steps without which nothing can be measured."""
MAX_LAG, SETTLE = 200, 100
"""Longest lag measured; steps read before it, so that the state is no longer the initial one."""
FAR_LAG = 100
"""Lag at which the influence that is left is told."""
STRETCH = SETTLE + MAX_LAG + 1
"""Steps read for each place that is looked back from."""
ANCHORS, ANCHORS_AT_ONCE = 256, 128
"""Places of held-out data looked back from; how many share a pass at most."""
MOST_NUMBERS = 1 << 27
"""Numbers of all states at all steps that a pass holds; of states of many units fewer share it."""
PROBES = 2
"""Random vectors for each place: an estimate at most 11 % low, on an axis of many decades."""
PASSAGE_SYMBOLS, PASSAGE_STEPS = 96, 168
"""Length of the passage whose gates are shown: of a text, and of curves, which are drawn finer."""


class Span(NamedTuple):
    """How far can be looked back."""

    lag: int
    stretch: int
    """Steps that are read for it."""


class Shown(NamedTuple):
    """A passage of held-out data."""

    track: Track
    """What stands there."""
    first: int
    """Number of its first step in its sequence."""
    forward: Passage
    """Gates and states of the last forward layer."""
    backward: Passage | None
    """The same of the backward one; None where there is none."""

    @property
    def directions(self) -> dict[str, Passage]:
        """Each direction by a word that tells it apart; no word where there is one alone."""
        if self.backward is None:
            return {"": self.forward}
        return {"forward": self.forward, "backward": self.backward}


def check_held_out(held_out: HeldOut, name: str) -> None:
    """Check that enough is held out to measure anything.

    Args:
        held_out: what is held out.
        name: whose it is, in words.

    Raises:
        InputError: it is not.
    """
    steps = int(held_out.lengths.sum())
    if steps < LEAST_HELD_OUT:
        raise InputError(
            f"{steps:,} held-out {held_out.step}s in {name}",
            f"at least {LEAST_HELD_OUT}, to choose units on one half and judge them on the other",
            f"give {10 * LEAST_HELD_OUT:,} {held_out.step}s or more, or hold out a larger part",
        )


def span_of(lengths: NDArray[np.int64]) -> Span:
    """Return how far back is looked in sequences of some lengths: 200 steps if they are so long.

    Else it is half of the median length, after a quarter of it that lets the state settle.

    Example:
        >>> span_of(np.array([1000])), span_of(np.array([12, 20, 40]))
        (Span(lag=200, stretch=301), Span(lag=10, stretch=15))
    """
    length = int(np.median(lengths))
    if length >= STRETCH:
        return Span(MAX_LAG, STRETCH)
    return Span(length // 2, max(1, length * 3 // 4))


def horizon_of(subject: Subject) -> MemoryHorizon:
    """Measure how far back a model remembers, from many places of its held-out data.

    Layers that read backward too are measured in their forward direction.
    """
    lag, stretch = span_of(subject.held_out.lengths)
    together = sequences_at_once(subject.model, stretch, ANCHORS_AT_ONCE)

    def run(_: Any, read: Read) -> Any:
        return subject.run(read)[0]

    reads = _stretches(subject, stretch, together)
    return memory_horizon(subject.model, reads, lag, probes=PROBES, rows=subject.end, run=run)


def sequences_at_once(model: nn.Module, steps: int, most: int, copies: int = 2) -> int:
    """How many sequences are read together, so that what is kept of their states has room.

    Args:
        model: the model.
        steps: how long the sequences are.
        most: the most that are read together.
        copies: how often a state is kept at every step.
    """
    units = 0
    for layer in recurrent_layers(model).values():
        sizes = Sizes.of(layer.sizes(0))
        own = sum(sizes[state.size] for state in layer.cell.states)
        units += layer.num_layers * layer.num_directions * own
    return max(1, min(most, MOST_NUMBERS // (steps * units * copies)))


def _stretches(subject: Subject, length: int, together: int) -> Iterator[Read]:
    """Yield stretches of held-out data that end in evenly spread places."""
    places = spread_places(subject.held_out.lengths, length)
    for first in range(0, len(places), together):
        yield subject.read(places[first : first + together])


def spread_places(lengths: NDArray[np.int64], length: int) -> list[Place]:
    """Evenly spread places of one length, in all sequences that are as long."""
    room = np.maximum(lengths - length + 1, 0)
    ends = np.cumsum(room)
    total = int(ends[-1])
    chosen = torch.linspace(0, total - 1, min(ANCHORS, total)).long().clamp(max=total - 1).numpy()
    numbers = np.searchsorted(ends, chosen, side="right")
    firsts = chosen - (ends - room)[numbers]
    pairs = zip(numbers.tolist(), firsts.tolist(), strict=True)
    return [Place(n, first, first + length) for n, first in pairs]


@torch.no_grad()
def passage_of(subject: Subject) -> Shown:
    """Read a passage of held-out data, with what stands around it to arrive with a state."""
    held_out = subject.held_out
    place = held_out.passage(PASSAGE_STEPS if held_out.step == "step" else PASSAGE_SYMBOLS)
    sequence, first, last = place
    begin, end = max(0, first - SETTLE), last
    if subject.reads_backward:
        end = min(last + SETTLE, int(held_out.lengths[sequence]))
    with watch(subject.model) as readings:
        subject.run(subject.read([Place(sequence, begin, end)]))
    reading, track = readings[-1], held_out.track(place)
    inside, layer = slice(first - begin, last - begin), reading.layer
    sizes = layer.sizes(layer.num_layers - 1)
    forward, *backward = (
        read_passage(
            track.characters,
            {n: reading.time_first(v)[inside] for n, v in direction.items()},
            layer.cell,
            sizes=sizes,
        )
        for direction in reading.trace.layers[-1]
    )
    return Shown(track, first, forward, backward[0] if backward else None)
