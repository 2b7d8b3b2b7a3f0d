"""What is asked of a source; each kind of task adds its own fields."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar

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

    gives: ClassVar[tuple[str, ...]] = ()
    """What a model of this kind can give a cell beside its input, by the name the cell has for it,
    such as the gap in time before each step."""
    used_by: ClassVar[str] = "gatework evaluate"
    """The command that uses a trained model."""
    usual: ClassVar[Mapping[str, Any]] = {}
    """Settings of a run of this kind that are not those of a text, such as its batch size."""
    tunable: ClassVar[tuple[str, ...]] = ()
    """Settings that change a model or its training and not what it is judged by, so that runs which
    differ in them can be compared: a sweep may vary these."""
    kind: str
    held_out: Annotated[tuple[Path, ...], Field(max_length=100_000)] = ()
    """Files to be measured on; without any, a part of what is learned from is held out."""
    held_out_share: float = Field(0.1, gt=0, lt=1)
    """That part, where no files are given."""

    def shown(self) -> dict[str, Any]:
        """Return the settings that a page shows."""
        found = self.model_dump(mode="json", exclude_none=True, exclude={"held_out"})
        return {"task": found.pop("kind"), **{n: v for n, v in found.items() if v != []}}


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
