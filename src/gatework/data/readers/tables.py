"""Tables: csv with any usual separator, and parquet, read a part at a time.

A table never lies in memory as a whole: its numbers go to a file without a name as float32, which
is mapped into memory, so that only what is looked at takes room.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

from gatework.data.columns import Columns
from gatework.data.kinds import note_on
from gatework.data.likely import likely_of_rows
from gatework.data.numbers import MISSING
from gatework.data.packed import is_packed, unpacked
from gatework.data.parts import Parts, parts_of
from gatework.data.reading import checksum, name_of
from gatework.data.rows import Rows
from gatework.data.sequences import Sequences
from gatework.errors import InputError
from gatework.needed import needed

if TYPE_CHECKING:
    import polars as pl

__all__ = ["likely", "read"]

SEPARATORS = ",;\t|"
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
TWICE = re.compile(r"(.*)_duplicated_\d+")
"""What polars makes of the second name of two that are equal."""
VALUE = re.compile(r"[-+]?[\d.,:/T +eE-]*\d[\d.,:/T +eEZ-]*")
"""Numbers and dates."""
EXPECTED = "csv with one line of names and equally many columns in every line, or parquet"
LOOKED_AT = 10_000
"""Rows by which the type of a column is judged."""
AT_ONCE = 200_000
"""Rows that are held in memory."""


def read(files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
    """Read tables with the same columns, one after the other.

    Raises:
        InputError: they are damaged, or their columns are not what was asked for.
    """
    with ExitStack() as open_files:
        tables = [open_files.enter_context(_opened(path)) for path in files]
        types = [_types(table) for table in tables]
        for path, own in zip(files, types, strict=True):
            _check_alike(files[0], types[0], path, own)
        dates = [name for name, dtype in types[0].items() if dtype.is_temporal()]
        parts = parts_of([name for name in types[0] if name], columns, kind, dates)
        notes = ["a column without a name is left out"] if "" in types[0] else []
        wanted = _wanted(types[0], parts, kind)
        with Rows(parts, kind, notes) as rows:
            for table in tables:
                with _explained(table.path):
                    found = _scan(table, wanted).select(rows.needed)
                    for frame in found.collect_batches(chunk_size=AT_ONCE):
                        rows.add(frame, str(table.path), decimal_comma=table.decimal_comma)
            return rows.sequences(name_of(files), checksum(files))


def likely(path: Path, columns: Columns) -> str:
    """Return the kind of task that a table looks like, from its first rows.

    Raises:
        InputError: it is damaged, or has no column to predict.
    """
    with _opened(path) as table:
        types = _types(table)
        dates = [name for name, dtype in types.items() if dtype.is_temporal()]
        parts = parts_of([name for name in types if name], columns, "forecast", dates)
        with _explained(path):
            named = [name for name in (parts.id, *parts.target) if name is not None]
            frame = _scan(table, _wanted(types, parts, "tag")).select(named).head(LOOKED_AT)
            return likely_of_rows(frame.collect(), parts)


class _Table(NamedTuple):
    """A file, and how it is written."""

    path: Path
    """What it is called."""
    place: Path
    """What is read: the same, or what was packed in it."""
    parquet: bool
    separator: str = ","
    decimal_comma: bool = False


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    """A table, unpacked as long as it is looked at."""
    with ExitStack() as stack:
        place = path
        if is_packed(path):
            descriptor = unpacked(path)
            stack.callback(os.close, descriptor)
            place = Path(f"/dev/fd/{descriptor}")
        if ".parquet" in path.suffixes:
            yield _Table(path, place, parquet=True)
        else:
            yield _Table(path, place, False, *_written(place))


def _written(place: Path) -> tuple[str, bool]:
    """The character that divides the first line most often, and whether decimals have a comma."""
    with place.open("rb") as file:
        file.seek(0)
        first, *lines = [file.readline(1 << 16).decode("utf-8", "replace") for _ in range(100)]
    separator = max(SEPARATORS, key=first.count)
    cells = [cell.strip(' "\r\n') for line in lines for cell in line.split(separator)]
    return separator, separator != "," and any(map(DECIMAL_COMMA.fullmatch, cells))


def _scan(table: _Table, wanted: Mapping[str, Any]) -> pl.LazyFrame:
    """A table that is not read yet; its names have no blanks around them.

    Args:
        table: where it is.
        wanted: types of columns, where they should not be found from the first rows.
    """
    polars: Any = needed("polars", "tables")
    if table.parquet:
        parquet: pl.LazyFrame = polars.scan_parquet(table.place)
        return parquet
    scan = partial(
        polars.scan_csv,
        table.place,
        separator=table.separator,
        decimal_comma=table.decimal_comma,
        null_values=MISSING,
        infer_schema_length=LOOKED_AT,
        try_parse_dates=True,
    )
    names = scan().collect_schema().names()
    types = {name: wanted[name.strip()] for name in names if name.strip() in wanted}
    found: pl.LazyFrame = scan(schema_overrides=types).rename({n: n.strip() for n in names})
    return found


def _types(table: _Table) -> dict[str, Any]:
    """The types of columns, by their names."""
    with _explained(table.path):
        schema = _scan(table, {}).collect_schema()
    if not table.parquet:
        _check_names(table, list(schema))
    return dict(schema)


def _wanted(types: Mapping[str, Any], parts: Parts, kind: str) -> dict[str, Any]:
    """The types to read columns of csv with: the first rows do not tell what comes later."""
    pl = needed("polars", "tables")
    numbers = {*parts.values, *parts.static, *(parts.target if kind == "regress" else ())}
    wanted = {name: pl.Float64 for name in numbers if types[name].is_integer()}
    if parts.id is not None:
        wanted[parts.id] = pl.String
    if parts.time is not None and types[parts.time].is_integer():
        wanted[parts.time] = pl.Float64
    elif parts.time is not None and types[parts.time].is_temporal():
        wanted[parts.time] = pl.String  # whether a day or a month comes first is found with care
    return wanted


def _check_alike(
    first: Path, expected: Mapping[str, Any], path: Path, found: Mapping[str, Any]
) -> None:
    if other := sorted(set(expected) ^ set(found)):
        raise InputError(
            f"{first} and {path} have other columns: {other[0]!r} is in one alone",
            "tables with the same columns",
            "give them the same first line",
        )


def _check_names(table: _Table, names: Sequence[str]) -> None:
    """Raise where the first line has no names."""
    path = table.path
    with table.place.open("rb") as file:
        file.seek(0)
        beginning = file.read(1 << 16)
    if b"\0" in beginning:
        what, _, mend = (note_on(path, beginning) or f"{path} is no text").partition("; ")
        raise InputError(what, EXPECTED, mend if "convert" in mend else "name another file")
    for name in names:
        if (found := TWICE.fullmatch(name)) and found[1] in names:
            raise InputError(
                f"{path} has two columns called {found[1]!r}",
                "a name of its own for each column",
                "rename one in the first line",
            )
    if all(VALUE.fullmatch(name) for name in names):
        raise InputError(
            f"the first line of {path} has values: {', '.join(names)[:100]}",
            "a first line with the names of columns",
            f"add one: sed -i '1i {','.join('abcdefgh'[: len(names)])}' {quote(str(path))}",
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what polars says of a table into what a user can mend."""
    import polars.exceptions as errors

    try:
        yield
    except (errors.PolarsError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _told(path, " ".join(str(error).split())) from None


def _told(path: Path, said: str) -> InputError:
    if found := re.search(r"could not parse `(.*?)` as dtype `(\w+)` at column '(.*?)'", said):
        value, _, column = found.groups()
        return InputError(
            f"{path}: {value!r} in column {column!r}, which has numbers in its first rows",
            "a number there, or nothing where it is missing",
            f"correct it, or leave the column out: --ignore {quote(column)}",
        )
    if "utf-8" in said.lower() or "utf8" in said.lower():
        return InputError(
            f"{path} is not UTF-8 throughout",
            "a table in one encoding",
            f"convert it: iconv -f LATIN1 -t UTF-8 {quote(str(path))} > utf8.csv",
        )
    if "more fields" in said:
        return InputError(
            f"{path}: a line has more columns than the first one has names",
            EXPECTED,
            'correct that line; a value with a separator in it stands in "quotes"',
        )
    return InputError(
        f"{path} cannot be read as a table ({said[:300]})",
        EXPECTED,
        "correct the file; a text is learned with --task text",
    )
