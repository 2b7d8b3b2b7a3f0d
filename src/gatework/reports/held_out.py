"""A model on its held-out data: how far back it remembers, and what its gates do on a passage.

T  time steps, one for each byte      B  stretches of the text
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gatework.data import Corpus, characters_of
from gatework.errors import InputError
from gatework.lang.sizes import Sizes
from gatework.lens import MemoryHorizon, Passage, memory_horizon, read_passage
from gatework.tasks import Source, Task
from gatework.tasks.text.model import LanguageModel
from gatework.tasks.text.task import TextTask

__all__ = [
    "FAR_LAG",
    "MAX_LAG",
    "check_held_out",
    "horizon_of",
    "passage_of",
    "sequences_at_once",
    "stretches",
]

MAX_LAG, SETTLE = 200, 100
"""Longest lag measured; bytes read before it, so that the state is no longer the initial one."""
FAR_LAG = 100
"""Lag at which the influence that is left is told."""
STRETCH = SETTLE + MAX_LAG + 1
"""Bytes read for each place that is looked back from."""
ANCHORS, ANCHORS_AT_ONCE = 256, 128
"""Places of the held-out text looked back from; how many share a pass at most."""
MOST_NUMBERS = 1 << 27
"""Numbers of all states at all steps that a pass holds; of states of many units fewer share it."""
PROBES = 2
"""Random vectors for each place: an estimate at most 11 % low, on an axis of many decades."""
PASSAGE_BYTES = 96
"""Length of the passage whose gates are shown."""


def check_held_out(task: Task, source: Source) -> None:
    """Check that the held-out part is long enough to look back in.

    Raises:
        InputError: it is not, or it is no text of bytes.
    """
    if not isinstance(task, TextTask) or not task.of_bytes:
        raise InputError(
            f"the task {task.settings.kind!r} of {source.name}",
            "a text that is learned byte by byte, since what is compared is how far back bytes are "
            "remembered",
            "train each cell alone, and compare their figures: gatework evaluate RUN",
        )
    held_out = source.sizes[1]
    if held_out < STRETCH:
        raise InputError(
            f"{held_out:,} held-out {task.counted}",
            f"at least {STRETCH:,}, to look {MAX_LAG} steps back",
            f"give a text of {10 * STRETCH:,} {task.counted} or more",
        )


def horizon_of(model: LanguageModel, corpus: Corpus) -> MemoryHorizon:
    """Measure how far back a model remembers, from many places of its held-out text.

    In a short text, which has no `STRETCH` bytes, over half of its length.
    """
    length = len(corpus.valid)
    lag, stretch = (MAX_LAG, STRETCH) if length >= STRETCH else (length // 2, length * 3 // 4)
    together = sequences_at_once(model, stretch, ANCHORS_AT_ONCE)
    inputs = (model.embedding(batch) for batch in stretches(corpus, stretch, together))
    return memory_horizon(model.layer, inputs, lag, probes=PROBES)


def sequences_at_once(model: LanguageModel, steps: int, most: int, copies: int = 2) -> int:
    """How many sequences are read together, so that what is kept of their states has room.

    Args:
        model: the model.
        steps: how long the sequences are.
        most: the most that are read together.
        copies: how often a state is kept at every step.
    """
    layer = model.layer
    sizes = Sizes.of(layer.sizes(0))
    units = layer.num_layers * sum(sizes[state.size] for state in layer.cell.states)
    return max(1, min(most, MOST_NUMBERS // (steps * units * copies)))


def stretches(corpus: Corpus, length: int, together: int) -> Iterator[Tensor]:
    """Yield stretches of held-out text that end in evenly spread places: int64 [length, B]."""
    room = len(corpus.valid) - length
    starts = torch.linspace(0, room, min(ANCHORS, room + 1)).long()
    for first in range(0, len(starts), together):
        some = starts[first : first + together]
        yield torch.stack([corpus.valid[start : start + length] for start in some], dim=1).long()


@torch.no_grad()
def passage_of(model: LanguageModel, corpus: Corpus) -> Passage:
    """Read a passage of held-out text, with some text before it to arrive with a state."""
    text = bytes(corpus.valid[:].tolist())
    start = _passage_start(text)
    before = corpus.valid[max(0, start - SETTLE) : start].long().unsqueeze(1)  # [≤SETTLE, 1]
    shown = corpus.valid[start : start + PASSAGE_BYTES].long().unsqueeze(1)  # [T, 1]
    state = model(before)[1] if len(before) else None
    trace = model.layer.trace(model.embedding(shown), state)
    characters = characters_of(text, start, start + PASSAGE_BYTES)
    sizes = model.layer.sizes(model.layer.num_layers - 1)
    return read_passage(characters, trace, model.layer.cell, sizes=sizes)


def _passage_start(text: bytes) -> int:
    """Choose where the passage begins: a definition near the middle, else a line, else there."""
    middle, last = len(text) // 2, max(0, len(text) - PASSAGE_BYTES)
    for sign in (b"\n    def ", b"\n"):
        found = text.find(sign, middle, last)
        if found >= 0:
            return found + 1
    return min(middle, last)
