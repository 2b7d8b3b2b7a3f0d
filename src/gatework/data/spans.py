"""Texts on disk that are never held in memory as a whole."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gatework.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Span", "Spans", "Symbols"]

BYTE: np.dtype[Any] = np.dtype(np.uint8)
CHUNK = 1 << 22
"""Symbols that are read at once by who goes through all."""


class Symbols(Protocol):
    """Numbers of symbols, one after the other: a tensor, or `Spans` on disk."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, place: slice) -> Tensor:
        """Return some of them as a tensor."""


class OpenFile:
    """A file that is open for reading as long as this object lives."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor, self.name = descriptor, name

    def __del__(self) -> None:
        os.close(self.descriptor)


class Span(NamedTuple):
    """A stretch of a file."""

    file: OpenFile
    begin: int
    """Its first symbol."""
    symbols: int
    """How many it has."""


@dataclass(frozen=True, eq=False)
class Spans:
    """Stretches of files as one text, read where it is asked for.

    Attributes:
        parts: the stretches in their order.
        dtype: of the symbols as they stand on disk.
    """

    parts: Sequence[Span]
    dtype: np.dtype[Any] = BYTE

    @cached_property
    def _begins(self) -> list[int]:
        """Where each part begins, and where the last one ends."""
        return list(accumulate((part.symbols for part in self.parts), initial=0))

    def __len__(self) -> int:
        return self._begins[-1]

    def __getitem__(self, place: slice) -> Tensor:
        import torch

        first, last, _ = place.indices(len(self))
        found = np.frombuffer(self.read(first, last), self.dtype)
        wide = found.copy() if self.dtype == BYTE else found.astype(np.int32)  # torch's types
        return torch.from_numpy(wide)

    def read(self, first: int, last: int) -> bytes:
        """Return the bytes of some symbols.

        Raises:
            InputError: a file has become shorter.
        """
        found, size = [], self.dtype.itemsize
        number = max(0, bisect_right(self._begins, first) - 1)
        while first < last and number < len(self.parts):
            part, begin = self.parts[number], self._begins[number]
            stop = min(last, begin + part.symbols)
            at = (part.begin + first - begin) * size
            found.append(_read_at(part.file, at, (stop - first) * size))
            first, number = stop, number + 1
        return b"".join(found)

    def chunks(self) -> Iterator[bytes]:
        """Go through all of it."""
        for first in range(0, len(self), CHUNK):
            yield self.read(first, min(len(self), first + CHUNK))


def _read_at(file: OpenFile, at: int, count: int) -> bytes:
    """Read so many bytes; the system may give them in several pieces."""
    pieces = []
    while count:
        piece = os.pread(file.descriptor, count, at)
        if not piece:
            raise InputError(
                f"{file.name!r} has become shorter while it was read",
                "a file that nobody changes while a model learns from it",
                "restore it, or copy it, and train on the copy",
            )
        pieces.append(piece)
        at, count = at + len(piece), count - len(piece)
    return b"".join(pieces)
