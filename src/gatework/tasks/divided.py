"""Sequences divided into what is learned from and what is held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.sequences import Sequences

__all__ = ["Divided", "Side"]


@dataclass(frozen=True, eq=False)
class Side:
    """Some of a set of sequences."""

    sequences: Sequences
    indices: NDArray[np.int64]
    """Which of them."""
    targets: NDArray[Any] | None = None
    """What is predicted of each of all sequences, or of each row, as numbers."""

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each."""
        lengths: NDArray[np.int64] = self.sequences.lengths[self.indices]
        return lengths


@dataclass(frozen=True, eq=False)
class Divided:
    """A source of whole sequences: some to learn from, others held out."""

    name: str
    sha256: str
    notes: tuple[str, ...]
    learned: Side
    held_out: Side

    @property
    def sizes(self) -> tuple[int, int]:
        """How many sequences there are to learn from, and how many are held out."""
        return len(self.learned), len(self.held_out)
