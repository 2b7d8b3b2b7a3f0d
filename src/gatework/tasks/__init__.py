"""Kinds of task: what is learned from which data, and in which unit its quality is said.

`task.py` is the seam: what trains, saves, reports and looks inside asks a `Task`, and knows no kind
of data. `settings.py` has the table of kinds. Each kind is a package with `settings.py` (which
needs no torch) and `task.py`.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from gatework.tasks.settings import KINDS, TableSettings, TaskSettings, settings_of

if TYPE_CHECKING:
    from gatework.tasks.task import (
        Batch,
        Batches,
        Evaluation,
        Loss,
        Part,
        SequenceModel,
        Shown,
        Source,
        Task,
    )

__all__ = [
    "KINDS",
    "Batch",
    "Batches",
    "Evaluation",
    "Loss",
    "Part",
    "SequenceModel",
    "Shown",
    "Source",
    "TableSettings",
    "Task",
    "TaskSettings",
    "settings_of",
    "task_class",
]


def task_class(kind: str) -> type[Task]:
    """Return the class of a kind of task, which loads torch."""
    found: type[Task] = _import_module(f"{KINDS[kind]}.task").TASKS[kind]
    return found


def __getattr__(name: str) -> _Any:
    """Load what needs torch when it is first asked for, so that the rest starts at once."""
    if name not in __all__:
        raise AttributeError(f"module 'gatework.tasks' has no attribute {name!r}")
    return getattr(_import_module("gatework.tasks.task"), name)
