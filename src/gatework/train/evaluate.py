"""How well a model predicts a text that it has not seen."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gatework.data import Streams
from gatework.nn import Carry
from gatework.train.model import ALPHABET, LanguageModel

__all__ = ["bits_per_byte"]

STREAMS, WINDOW = 64, 256
"""At most so many places of the text are read side by side, so many bytes at a time."""


@torch.no_grad()
def bits_per_byte(model: LanguageModel, text: Tensor, limit: int | None = None) -> float:
    """Return the mean cost of a byte of the text in bits, −log₂ p(byte | bytes before it).

    The text is read in up to 64 contiguous streams whose state is carried from window to
    window. 8 bits is the cost of bytes drawn at random, 0 that of a text known by heart.

    Args:
        model: left in evaluation mode.
        text: uint8 [number of bytes], at least two.
        limit: read about so many bytes, evenly spread over the text; None reads all.
    """
    window = min(WINDOW, len(text) - 1)
    streams = Streams(text, min(STREAMS, (len(text) - 1) // window), window)
    count = streams.windows
    if limit is not None:
        count = min(count, max(1, limit // streams.bytes_per_window))
    model.eval()
    carry = Carry(model)
    total = 0.0
    for _ in range(count):
        inputs, targets, _ = streams.next()
        scores, _ = carry(inputs)
        total += cross_entropy(scores.view(-1, ALPHABET), targets.reshape(-1)).item()
    return total / count / math.log(2)
