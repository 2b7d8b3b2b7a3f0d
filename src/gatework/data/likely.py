"""What is likely to be learned from rows, judged by their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatework.data.parts import Parts
from gatework.needed import needed

if TYPE_CHECKING:
    import polars as pl

__all__ = ["likely_of_labels", "likely_of_rows"]

MOST_CLASSES = 20
"""Different whole numbers that are taken for classes."""


def likely_of_rows(frame: pl.DataFrame, parts: Parts) -> str:
    """Return the kind of task that the first rows of a table look like.

    Numbers that change from row to row are forecast, texts are tagged. What is the same in all
    rows of each sequence is a label of the sequence.
    """
    if len(parts.target) > 1:
        return "forecast"
    labels = frame[parts.target[0]].drop_nulls()
    words = _are_words(labels)
    if _holds_for_sequences(frame, parts) and (words or labels.n_unique() > 1):
        return "classify" if words else likely_of_labels(labels.unique().to_numpy())
    return "tag" if words else "forecast"


def likely_of_labels(labels: Any) -> str:
    """Return the kind of task of one label, a NumPy value, for each sequence."""
    if labels.dtype.kind not in "fiub":
        return "classify"
    different = set(labels.tolist())
    whole = all(value == int(value) for value in different)
    return "classify" if whole and len(different) <= MOST_CLASSES else "regress"


def _are_words(labels: pl.Series) -> bool:
    """Whether most of them are no numbers."""
    pl = needed("polars", "tables")
    if labels.dtype.is_numeric():
        return False
    numbers = labels.cast(pl.String).cast(pl.Float64, strict=False)
    return bool(numbers.null_count() > len(labels) / 2)


def _holds_for_sequences(frame: pl.DataFrame, parts: Parts) -> bool:
    """Whether the target is the same in all rows of each sequence, some of which have several."""
    if parts.id is None:
        return False
    pl = needed("polars", "tables")
    target = pl.col(parts.target[0])
    groups = frame.group_by(parts.id).agg(target.n_unique().alias("n"), pl.len().alias("rows"))
    return bool((groups["n"] == 1).all() and (groups["rows"] > 1).any())
