"""Batches for truncated back-propagation through time.

T  window: time steps between two cuts of the gradient
B  streams read side by side
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from gatework.errors import InputError

__all__ = ["Streams", "Window"]


class Window(NamedTuple):
    """T steps of B streams: each target is the byte that follows its input."""

    inputs: Tensor
    """int64 [T, B]"""
    targets: Tensor
    """int64 [T, B]"""
    fresh: bool
    """True where the streams begin: no state can be carried in from the window before."""


class Streams:
    """B contiguous streams through one text, a window of T steps at a time, over and over.

    Stream b reads the b-th of B equal stretches. Window after window continues where the one
    before ended, so that the network's state can be carried along; only the gradient is cut.

    Args:
        text: uint8 [number of bytes].
        batch_size: B.
        window: T.

    Raises:
        InputError: the text is too short for one window of every stream.

    Example:
        >>> import torch
        >>> streams = Streams(torch.arange(9, dtype=torch.uint8), batch_size=2, window=3)
        >>> streams.next().inputs.T.tolist()
        [[0, 1, 2], [4, 5, 6]]
    """

    def __init__(self, text: Tensor, batch_size: int, window: int) -> None:
        stretch = (len(text) - 1) // batch_size
        if stretch < window:
            raise InputError(
                f"a text of {len(text):,} bytes to train on",
                f"at least {batch_size * window + 1:,} bytes: "
                f"{batch_size} streams of {window} bytes each",
                "give more text, or a smaller --batch-size or --window",
            )
        self.window = window
        self.bytes_per_window = batch_size * window
        self.windows = stretch // window
        """Windows until the streams begin again."""
        self.position = 0
        """Windows read since the beginning; set it to go on from a saved place."""
        self._inputs = text[: batch_size * stretch].view(batch_size, stretch).T  # [stretch, B]
        self._targets = text[1 : batch_size * stretch + 1].view(batch_size, stretch).T

    def next(self) -> Window:
        """Return the next window and move on."""
        place = self.position % self.windows
        self.position += 1
        steps = slice(place * self.window, (place + 1) * self.window)
        return Window(self._inputs[steps].long(), self._targets[steps].long(), fresh=place == 0)
