"""What is learned from and what is held out: nothing of the one in the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["by_sequence", "by_time"]


def by_time(sequences: Sequences, share_or_rows: float | int) -> NDArray[np.int64]:
    """Return where the held-out part of each sequence begins: its last rows.

    Args:
        sequences: N of them.
        share_or_rows: a share of each, a float below 1, or so many rows, an int.

    Returns:
        int64 [N], rows of `sequences.values`.
    """
    if isinstance(share_or_rows, int):
        last = np.minimum(share_or_rows, sequences.lengths)
    else:
        last = (sequences.lengths * share_or_rows).astype(np.int64)
    cuts: NDArray[np.int64] = sequences.starts[1:] - last
    return cuts


def by_sequence(
    sequences: Sequences, share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which sequences to learn from, and which are held out.

    Where labels are classes, of each class the same share is held out, and one at least is left
    to learn from.

    Args:
        sequences: at least two.
        share: to be held out.
        seed: of the choice.

    Raises:
        InputError: there is only one.
    """
    if len(sequences) < 2:
        raise InputError(
            "a single sequence",
            "several, so that some can be held out",
            "name a column that tells sequences apart, --id COLUMN, or files to judge by, "
            "--held-out FILE",
        )
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(sequences), bool)
    groups = _groups(sequences)
    for group in groups:
        count = min(len(group) - 1, round(len(group) * share))
        held_out[generator.permutation(group)[:count]] = True
    if not held_out.any():  # every class has but a few
        held_out[generator.choice(max(groups, key=len))] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _groups(sequences: Sequences) -> list[NDArray[np.int64]]:
    """Sequences of one class each; all of them where labels are no classes."""
    everything = np.arange(len(sequences))
    labels = sequences.labels
    if labels is None or sequences.per_row or labels.dtype.kind == "f":
        return [everything]
    _, classes = np.unique(labels.astype(str), return_inverse=True)
    return [np.flatnonzero(classes == k) for k in range(int(classes.max()) + 1)]
