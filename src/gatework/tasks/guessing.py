"""Which task is meant, where nobody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatework.data.columns import Columns
from gatework.data.reading import likely_kind

__all__ = ["guess", "with_task"]


def guess(files: Sequence[Path], columns: Columns) -> str:
    """Return the kind of task that files look like: "text" for all that are no sequences.

    Args:
        files: to learn from; none stand for a text.
        columns: what is known of their columns.

    Raises:
        InputError: a file cannot be read, or has no column to predict.

    Example:
        >>> guess([Path("notes.txt")], Columns())
        'text'
    """
    return likely_kind(files, columns) or "text"


def with_task(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run with the task that its files look like, if they name none.

    Raises:
        InputError: as `guess`.
    """
    if settings.get("task") is not None or not settings.get("files"):
        return dict(settings)
    known = {name: value for name, value in settings.items() if name in Columns.model_fields}
    return {**settings, "task": guess(settings["files"], Columns.of(**known))}
