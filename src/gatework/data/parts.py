"""Which part each column of a table has, found by usual names where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import NamedTuple

from gatework.data.columns import Columns
from gatework.errors import InputError, suggest

__all__ = ["USUAL", "Parts", "channels_of", "parts_of"]

USUAL = {
    "id": ("unique_id", "id", "series_id", "item_id", "sequence"),
    "time": ("ds", "timestamp", "datetime", "date", "time"),
    "target": ("y", "label", "target", "class"),
}
"""Names that columns have by custom, in capitals or not, the first one that is there counts: the
long table of Nixtla's libraries, and what others call the same."""
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

    @property
    def by_column(self) -> dict[str, str]:
        """The part of each column.

        Example:
            >>> Parts("a", None, ("y",), ("y", "x"), (), ()).by_column
            {'a': 'id', 'y': 'target', 'x': 'input'}
        """
        many = {"target": self.target, "future": self.future, "static": self.static}
        alone = {name: part for part, name in (("id", self.id), ("time", self.time)) if name}
        named = {name: part for part, names in many.items() for name in names}
        return alone | named | {n: "input" for n in self.inputs if n not in named}


def parts_of(names: Sequence[str], asked: Columns, kind: str, dates: Sequence[str] = ()) -> Parts:
    """Return the part of each column.

    Args:
        names: of the columns there are.
        asked: what was said.
        kind: of the task.
        dates: columns that hold dates; a single one is that of the times.

    Raises:
        InputError: a column that was named is not there, or there is nothing to predict.
    """
    ignored = set(asked.ignore)
    for part, given in _given(asked):
        if given not in names:
            raise _missing(given, part, names)
    here = [name for name in names if name not in ignored]
    said = {name for _, name in _given(asked)}
    free = [name for name in here if name not in said]
    id_ = asked.id or _usual("id", free)
    time = asked.time or _usual("time", free) or _single([n for n in dates if n in free])
    target = asked.target or tuple(filter(None, [_usual("target", free)]))
    if kind == "read":  # what the label is nobody needs to know
        target = ()
    elif not target:
        raise _no_target(here, {id_, time} | said)
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
            f"write --id COLUMN, such as --id {quote(here[0])}; or --task tag, for each row",
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


def channels_of(names: Sequence[str], asked: Columns, kind: str) -> tuple[str, ...]:
    """Return the channels of arrays that are read, first what is to be forecast.

    Args:
        names: of all channels.
        asked: what was said of them.
        kind: of the task.

    Raises:
        InputError: a channel that was named is not there, or none is left.

    Example:
        >>> channels_of(["a", "b", "c"], Columns(target=("c",), ignore=("a",)), "forecast")
        ('c', 'b')
    """
    for part, given in _given(asked):
        if given not in names:
            raise _missing(given, part, names)
    left = [name for name in asked.inputs or names if name not in asked.ignore]
    first = (asked.target or left[:1]) if kind == "forecast" else ()
    if not left:
        raise InputError(f"no channel but {_listed(names)}", "one that is read", "ignore less")
    return tuple(dict.fromkeys((*first, *left)))


def _given(asked: Columns) -> list[tuple[str, str]]:
    alone = [(part, name) for part in ("id", "time") if (name := getattr(asked, part))]
    many = ("target", "inputs", "future", "static", "ignore")
    return [*alone, *((part, name) for part in many for name in getattr(asked, part))]


def _usual(part: str, names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[usual] for usual in USUAL[part] if usual in lower), None)


def _single(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _no_target(names: Sequence[str], taken: set[str | None]) -> InputError:
    possible = [name for name in names if name not in taken]
    text = "; a text is learned with --task text" if len(possible) < 2 else ""
    return InputError(
        f"no column to predict among {_listed(names)}",
        "one that is called y, or the name of another",
        f"write --target {quote(possible[-1]) if possible else 'COLUMN'}{text}",
    )


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
