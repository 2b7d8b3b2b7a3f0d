"""What the columns of sequences hold, in a few figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatework.data.sequences import Sequences

__all__ = ["Seen", "seen_in"]

AT_ONCE = 1 << 18
"""Rows that are looked at together."""


@dataclass(frozen=True)
class Seen:
    """What a column holds: its range, NaN where it has no value, and how many are missing."""

    least: float
    most: float
    missing: int


def seen_in(sequences: Sequences) -> dict[str, Seen]:
    """Return what each column of values holds.

    Example:
        >>> rows = np.float32([[1], [3], [np.nan]])
        >>> seen_in(Sequences("s", "", ("y",), rows, np.array([0, 3]), ["s"]))
        {'y': Seen(least=1.0, most=3.0, missing=1)}
    """
    columns = len(sequences.columns)
    least, most = np.full(columns, np.nan), np.full(columns, np.nan)
    missing = np.zeros(columns, int)
    for begin in range(0, len(sequences.values), AT_ONCE):
        part: NDArray[np.float32] = sequences.values[begin : begin + AT_ONCE]
        least = np.fmin(least, np.fmin.reduce(part))
        most = np.fmax(most, np.fmax.reduce(part))
        missing += np.isnan(part).sum(0)
    found = zip(least.tolist(), most.tolist(), missing.tolist(), strict=True)
    return {name: Seen(*seen) for name, seen in zip(sequences.columns, found, strict=True)}
