"""JSON lines: each line a row of a table, or a whole sequence whose columns are lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from gatework.data.columns import Columns
from gatework.data.likely import likely_of_rows
from gatework.data.packed import lines_of
from gatework.data.parts import USUAL, parts_of
from gatework.data.reading import checksum, name_of
from gatework.data.rows import Rows
from gatework.data.sequences import Sequences
from gatework.errors import InputError
from gatework.needed import needed

__all__ = ["likely", "read"]

NUMBER = "sequence"
"""Name of the column that tells sequences apart where each line is one and none has a name."""
EXPECTED = 'an object a line: {"id": "a", "x": [1, 2, 3], "y": "walk"}, or a row: {"x": 1}'
USUAL_IDS = set(USUAL["id"])
LOOKED_AT = 1_000
"""Lines by which is judged what they are."""
AT_ONCE = 10_000
"""Lines that are put into a table at once."""


def read(files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
    """Read rows, or whole sequences, from all files.

    Raises:
        InputError: a line is no object, or lists in it are of unequal lengths.
    """
    asked, objects, whole = _objects(files, columns, None)
    names = list(objects[0][2])
    pl = needed("polars", "tables")
    with Rows(parts_of(names, asked, kind), kind) as rows:
        for begin in range(0, len(objects), AT_ONCE):
            some = objects[begin : begin + AT_ONCE]
            table: dict[str, list[Any]] = {name: [] for name in names}
            for path, number, one in some:
                _add(table, path, number, one, whole=whole)
            for name, column in table.items():
                _check_alike(some[0][0], name, column)
            rows.add(pl.DataFrame(table, strict=False, nan_to_null=False), str(some[0][0]))
        return rows.sequences(name_of(files), checksum(files))


def likely(path: Path, columns: Columns) -> str:
    """Return the kind of task that a file looks like, from its first lines.

    Raises:
        InputError: a line is no object, or there is no column to predict.
    """
    asked, objects, whole = _objects([path], columns, LOOKED_AT)
    parts = parts_of(list(objects[0][2]), asked, "forecast")
    table: dict[str, list[Any]] = {name: [] for name in objects[0][2]}
    for file, number, one in objects:
        _add(table, file, number, one, whole=whole)
    pl = needed("polars", "tables")
    named = {name: table[name] for name in (parts.id, *parts.target) if name is not None}
    return likely_of_rows(pl.DataFrame(named, strict=False), parts)


_Objects: TypeAlias = list[tuple[Path, int, dict[str, Any]]]


def _objects(
    files: Sequence[Path], columns: Columns, most: int | None
) -> tuple[Columns, _Objects, bool]:
    """The columns asked for, lines with file and number, and whether each is a whole sequence."""
    objects = [
        (path, number, _object(path, number, line))
        for path in files
        for number, line in enumerate(islice(lines_of(path), most), 1)
        if line.strip()
    ]
    if not objects:
        raise InputError(f"no line in {name_of(files)}", EXPECTED, "check the file")
    first = objects[0][2]
    whole = any(isinstance(value, list) for value in first.values())
    if whole and columns.id is None and not USUAL_IDS & {name.lower() for name in first}:
        columns = columns.model_copy(update={"id": NUMBER})
        objects = [(p, n, {NUMBER: f"{k + 1}", **o}) for k, (p, n, o) in enumerate(objects)]
    return columns, objects, whole


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}, line {number:,}: {error}", EXPECTED, "correct it") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}, line {number:,}: {line.strip()[:60]}", EXPECTED, "correct it")
    return found


def _add(
    table: dict[str, list[Any]], path: Path, number: int, one: dict[str, Any], *, whole: bool
) -> None:
    """Append a line to a table: a row, or as many as its lists have."""
    if missing := sorted(set(one) - set(table)):
        raise InputError(
            f"{path}, line {number:,}: {missing[0]!r}, which the first line does not have",
            "the same names in every line",
            "add it to the first, with null",
        )
    lengths = {len(v) for v in one.values() if isinstance(v, list)}
    if len(lengths) > 1 or (lengths and not whole):
        raise InputError(
            f"{path}, line {number:,}: lists of {', '.join(map(str, sorted(lengths)))} values",
            "lists of one length in a line, in every line or in none",
            "correct it",
        )
    count = lengths.pop() if lengths else 1
    for name, column in table.items():
        value = one.get(name)
        column.extend(value if isinstance(value, list) else [value] * count)


def _check_alike(path: Path, name: str, column: list[Any]) -> None:
    """Raise where a column has numbers and texts, or something nested."""
    kinds = {type(v) for v in column if v is not None}
    if kinds <= {int, float, bool} or kinds == {str} or not kinds:
        return
    odd = next(v for v in column if v is not None and not isinstance(v, int | float))
    raise InputError(
        f"{path}: {json.dumps(odd)[:60]} in {name!r}, which has numbers elsewhere",
        "numbers, or texts throughout, or null where a value is missing",
        f"correct it, or leave it out: --ignore {name}",
    )
