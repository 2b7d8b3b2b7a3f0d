"""What is asked of a source; each kind of task adds its own fields."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gatework.data.columns import Columns
from gatework.errors import InputError, suggest
from gatework.settings import Checked

__all__ = ["KINDS", "TableSettings", "TaskSettings", "settings_of"]

KINDS = {
    "text": "gatework.tasks.text",
    "forecast": "gatework.tasks.forecasting",
    "classify": "gatework.tasks.labelling",
    "regress": "gatework.tasks.labelling",
    "tag": "gatework.tasks.labelling",
}
"""Kinds of task, and the package that each lies in: its `settings` has `SETTINGS`, its `task` has
`TASKS`, both by the kind's name. A new kind is a package and a line here."""


class TaskSettings(Checked):
    """What is asked of a source, whatever the kind of task."""

    kind: str
    held_out: Annotated[tuple[Path, ...], Field(max_length=100_000)] = ()
    """Files to be measured on; without any, a part of what is learned from is held out."""
    held_out_share: float = Field(0.1, gt=0, lt=1)
    """That part, where no files are given."""


class TableSettings(TaskSettings, Columns):
    """What is asked of a table or of arrays, for tasks that read these."""


def settings_of(given: Any) -> TaskSettings:
    """Return the settings of a task from data as it stands in `config.yaml`.

    Raises:
        InputError: there is no such kind, or a setting is wrong.
    """
    if isinstance(given, TaskSettings):
        return given
    values = dict(given) if isinstance(given, dict) else {"kind": given}
    kind = values.get("kind", "text")
    if not isinstance(kind, str) or kind not in KINDS:
        near = suggest(kind, KINDS) if isinstance(kind, str) else ""
        raise InputError(
            f"a task of the kind {kind!r}",
            f"one of {', '.join(KINDS)}",
            f"{near}write --task text or another of them",
        )
    made: TaskSettings = import_module(f"{KINDS[kind]}.settings").SETTINGS[kind].of(**values)
    return made
