"""Tables: csv with any usual separator, and parquet, read a part at a time.

A table never lies in memory as a whole: its numbers go to a file without a name as float32, which
is mapped into memory, so that only what is looked at takes room.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gatework.data.columns import Columns
from gatework.data.needed import needed
from gatework.data.packed import is_packed, unpacked
from gatework.data.parts import parts_of
from gatework.data.reading import checksum, name_of
from gatework.data.rows import Rows
from gatework.data.sequences import Sequences
from gatework.errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["read"]

SEPARATORS = ",;\t|"
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
"""How people write that a value is missing."""
LOOKED_AT = 10_000
"""Rows by which the type of a column is judged."""
AT_ONCE = 200_000
"""Rows that are held in memory."""


def read(files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
    """Read tables with the same columns, one after the other.

    Raises:
        InputError: they are damaged, or their columns are not what was asked for.
    """
    tables = [_scan(path) for path in files]
    names = [_names(path, table) for path, table in zip(files, tables, strict=True)]
    for path, own in zip(files, names, strict=True):
        if set(own) != set(names[0]):
            other = sorted(set(own) ^ set(names[0]))[0]
            raise InputError(
                f"{files[0]} and {path} have other columns: {other!r} is in one alone",
                "tables with the same columns",
                "give them the same first line",
            )
    parts = parts_of(names[0], columns, kind)
    rows = Rows(parts, kind)
    for path, table in zip(files, tables, strict=True):
        with _explained(path):
            for frame in _pieces(table, rows.needed):
                rows.add(frame, str(path))
    return rows.sequences(name_of(files), checksum(files))


def _scan(path: Path) -> pl.LazyFrame:
    pl = needed("polars", "tables")
    place = str(path)
    if is_packed(path):
        place = f"/dev/fd/{unpacked(path)}"
    with _explained(path):
        if ".parquet" in path.suffixes:
            return pl.scan_parquet(place)  # type: ignore[no-any-return]
        return pl.scan_csv(  # type: ignore[no-any-return]
            place,
            separator=_separator(Path(place)),
            null_values=MISSING,
            infer_schema_length=LOOKED_AT,
            try_parse_dates=True,
            truncate_ragged_lines=False,
        )


def _separator(path: Path) -> str:
    """The character that divides the first line most often."""
    with path.open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8", "replace")
    return max(SEPARATORS, key=line.count)


def _names(path: Path, table: pl.LazyFrame) -> list[str]:
    with _explained(path):
        return table.collect_schema().names()


def _pieces(table: pl.LazyFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    yield from table.select(columns).collect_batches(chunk_size=AT_ONCE)


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
            f"correct it, or leave the column out: --ignore {column}",
        )
    if "utf-8" in said.lower() or "utf8" in said.lower():
        return InputError(
            f"{path} is not UTF-8 throughout",
            "a table in one encoding",
            f"convert it: iconv -f LATIN1 -t UTF-8 {path} > utf8.csv",
        )
    return InputError(
        f"{path} cannot be read as a table ({said[:300]})",
        "csv with one line of names and equally many columns in every line, or parquet",
        "correct the file; a text is learned with --task text",
    )
