"""Which part each column of a table has, found by usual names where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gatework.data.columns import Columns
from gatework.errors import InputError, suggest

__all__ = ["Parts", "parts_of"]

USUAL = {
    "id": ("unique_id",),
    "time": ("ds",),
    "target": ("y", "label", "target", "class"),
}
"""Names that columns have by custom: the long table of Nixtla's libraries, and what labels are
called."""
OPTIONS = {"id": "--id", "time": "--time-column", "target": "--target"}


class Parts(NamedTuple):
    """Columns by their part."""

    id: str | None
    time: str | None
    target: tuple[str, ...]
    inputs: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that have a number in each row, in the order of `Sequences.values`."""
        return tuple(dict.fromkeys((*self.inputs, *self.future)))


def parts_of(names: Sequence[str], asked: Columns, kind: str) -> Parts:
    """Return the part of each column.

    Args:
        names: of the columns there are.
        asked: what was said.
        kind: of the task.

    Raises:
        InputError: a column that was named is not there, or there is nothing to predict.
    """
    ignored = set(asked.ignore)
    for part, given in _given(asked):
        if given not in names:
            raise _missing(given, part, names)
    here = [name for name in names if name not in ignored]
    id_ = asked.id or _usual("id", here)
    time = asked.time or _usual("time", here)
    target = asked.target or tuple(filter(None, [_usual("target", here)]))
    if not target:
        raise InputError(
            f"no column to predict among {_listed(here)}",
            "one that is called y, or the name of another",
            f"write --target {here[-1] if here else 'COLUMN'}",
        )
    if kind != "forecast" and len(target) > 1:
        raise InputError(
            f"--target {','.join(target)} for the task {kind!r}",
            "one column",
            "name one; train a model for each of the others",
        )
    if kind in ("classify", "regress") and id_ is None:
        raise InputError(
            f"no column that tells sequences apart among {_listed(here)}",
            f"one, since the task {kind!r} predicts one thing for each sequence",
            f"write --id COLUMN, such as --id {here[0]}; or --task tag, for each row",
        )
    taken = {id_, time, *asked.future, *asked.static}
    predicted = set() if kind == "forecast" else set(target)
    rest = tuple(n for n in here if n not in taken | predicted)
    inputs = asked.inputs or rest
    if kind == "forecast":  # what is to be predicted is known up to now
        inputs = tuple(dict.fromkeys((*target, *inputs)))
    found = Parts(id_, time, tuple(target), inputs, asked.future, asked.static)
    if not found.values:
        raise InputError(
            f"no column to read among {_listed(here)}",
            "at least one that is neither target nor id nor time",
            "name it with --inputs",
        )
    return found


def _given(asked: Columns) -> list[tuple[str, str]]:
    alone = [(part, name) for part in ("id", "time") if (name := getattr(asked, part))]
    many = ("target", "inputs", "future", "static", "ignore")
    return [*alone, *((part, name) for part in many for name in getattr(asked, part))]


def _usual(part: str, names: Sequence[str]) -> str | None:
    return next((usual for usual in USUAL[part] if usual in names), None)


def _missing(name: str, part: str, names: Sequence[str]) -> InputError:
    option = OPTIONS.get(part, f"--{part}")
    return InputError(
        f"{option} {name}: there is no such column",
        f"one of {_listed(names)}",
        f"{suggest(name, names)}correct it, or check the file's first line",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
