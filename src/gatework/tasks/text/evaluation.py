"""How well a model predicts a text that it has not seen."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import cross_entropy

from gatework.data.spans import Symbols
from gatework.nn import Carry
from gatework.tasks.task import SequenceModel
from gatework.tasks.text.streams import Streams

__all__ = ["bits_per_symbol"]

STREAMS, WINDOW = 64, 256
"""At most so many places of the text are read side by side, so many symbols at a time."""


@torch.no_grad()
def bits_per_symbol(model: SequenceModel, text: Symbols, limit: int | None = None) -> float:
    """Return the mean cost of a symbol of the text in bits, −log₂ p(symbol | symbols before it).

    The text is read in up to 64 contiguous streams whose state is carried from window to
    window. Of bytes, 8 bits is the cost of bytes drawn at random, 0 that of a text known by heart.

    Args:
        model: left in evaluation mode.
        text: numbers of symbols, at least two.
        limit: read about so many symbols, evenly spread over the text; None reads all.
    """
    window = min(WINDOW, len(text) - 1)
    streams = Streams(text, min(STREAMS, (len(text) - 1) // window), window)
    count = streams.windows
    if limit is not None:
        count = min(count, max(1, limit // streams.per_window))
    device = next(model.parameters()).device
    model.eval()
    carry = Carry(model)
    total = 0.0
    for _ in range(count):
        batch = streams.next()
        scores, _ = carry(batch.inputs.to(device))
        total += cross_entropy(scores.flatten(0, 1), batch.targets.flatten().to(device)).item()
    return total / count / math.log(2)
