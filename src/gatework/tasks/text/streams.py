"""Batches for truncated back-propagation through time.

T  window: time steps between two cuts of the gradient
B  streams read side by side
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatework.data.spans import Symbols
from gatework.errors import InputError
from gatework.tasks.task import ALL, Batch, Part

__all__ = ["Streams"]


class Streams:
    """B contiguous streams through one text, a window of T steps at a time, over and over.

    Stream b reads the b-th of B equal stretches. Window after window continues where the one
    before ended, so that the network's state can be carried along; only the gradient is cut.

    Args:
        text: numbers of symbols, in memory or on disk.
        batch_size: B.
        window: T.
        part: which streams are returned.
        counted: what symbols are called.

    Raises:
        InputError: the text is too short for one window of every stream.

    Example:
        >>> import torch
        >>> streams = Streams(torch.arange(9, dtype=torch.uint8), batch_size=2, window=3)
        >>> streams.next().inputs.T.tolist()
        [[0, 1, 2], [4, 5, 6]]
    """

    def __init__(
        self,
        text: Symbols,
        batch_size: int,
        window: int,
        part: Part = ALL,
        counted: str = "bytes",
    ) -> None:
        stretch = (len(text) - 1) // batch_size
        if stretch < window:
            raise InputError(
                f"a text of {len(text):,} {counted} to train on",
                f"at least {batch_size * window + 1:,} {counted}: "
                f"{batch_size} streams of {window} {counted} each",
                "give more text, or a smaller --batch-size or --window",
            )
        self.window = window
        self.per_window = batch_size * window
        """Symbols of a window of all streams."""
        self.windows = stretch // window
        """Windows until the streams begin again."""
        self.position = 0
        """Windows read since the beginning; set it to go on from a saved place."""
        self._text = text
        self._begins = [b * stretch for b in range(batch_size)][part.slice(batch_size)]

    @property
    def seen(self) -> int:
        """Symbols learned from so far."""
        return self.position * self.per_window

    def next(self) -> Batch:
        """Return the next window and move on."""
        place = self.position % self.windows
        self.position += 1
        first = place * self.window
        text = self._read(first, first + self.window + 1)  # [T + 1, B]
        return Batch(text[:-1], text[1:], fresh=place == 0)

    def _read(self, first: int, last: int) -> Tensor:
        """Steps of every stream: int64 [last - first, B]."""
        if not self._begins:
            return torch.empty(last - first, 0, dtype=torch.long)
        rows = [self._text[begin + first : begin + last] for begin in self._begins]
        return torch.stack(rows, dim=1).long()
