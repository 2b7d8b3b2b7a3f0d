"""Files of any kind as sequences of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from gatework.data.columns import Columns
from gatework.data.sequences import Sequences
from gatework.errors import InputError, explained
from gatework.files import open_regular

__all__ = ["READERS", "kind_of_file", "likely_kind", "read_sequences"]

READERS = {
    ".csv": "tables",
    ".tsv": "tables",
    ".tab": "tables",
    ".parquet": "tables",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".npy": "arrays",
    ".npz": "arrays",
    ".ts": "archive",
}
"""How files end, and the module of `gatework.data.readers` that reads them, a `Reader`. A new kind
of file is a module and a line here."""
PACKED = (".gz", ".zst")
CHUNK = 1 << 22
EXPECTED = f"a file that ends in {', '.join(READERS)}, or in one of these and .gz or .zst"


class Reader(Protocol):
    """A module that reads files of one kind."""

    def read(self, files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
        """Read files for a kind of task."""

    def likely(self, path: Path, columns: Columns) -> str:
        """Return the kind of task that a file looks like, from its beginning."""


def kind_of_file(path: Path) -> str | None:
    """Return how a file of sequences ends, packed or not; None for any other, such as a text.

    Example:
        >>> kind_of_file(Path("loads.csv.gz")), kind_of_file(Path("notes.txt"))
        ('.csv', None)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def read_sequences(files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
    """Read sequences from files that all are of one kind.

    Args:
        files: at least one.
        columns: which part each column has; what is not said is found by its usual name.
        kind: of the task, which decides what the target is: "forecast", "classify" (a class of
            each sequence), "regress" (a number of each), "tag" (a class of each row), or "read",
            where no target is looked for.

    Raises:
        InputError: a file is missing, or damaged, or is not what was asked for.

    Example:
        >>> _ = Path("walks.jsonl").write_text('{"x": [1, 2, null], "y": "up"}\\n')
        >>> read_sequences([Path("walks.jsonl")], Columns(), "classify").lengths.tolist()
        [3]
    """
    sequences = _reader(files, kind).read(files, columns, kind)
    if not len(sequences) or not len(sequences.values):
        raise InputError(f"no row in {sequences.name}", "at least one", "check the file")
    return sequences


def likely_kind(files: Sequence[Path], columns: Columns) -> str | None:
    """Return the kind of task that the first file looks like; None where one is no sequence.

    Raises:
        InputError: it is missing, or damaged, or has no column to predict.
    """
    if not files or not all(map(kind_of_file, files)):
        return None
    return _reader(files, "forecast").likely(files[0], columns)


def _reader(files: Sequence[Path], kind: str) -> Reader:
    """What reads these files, all of which are there."""
    if not files:
        raise InputError("no file", EXPECTED, "name one: gatework train loads.csv")
    kinds = {path: kind_of_file(path) for path in files}
    for path, found in kinds.items():
        if found is None:
            raise InputError(
                f"{str(path)!r} for the task {kind!r}",
                EXPECTED,
                "give it an ending that tells what it is; a text is learned with --task text",
            )
    if len({READERS[str(found)] for found in kinds.values()}) > 1:
        raise InputError(
            f"files of several kinds: {', '.join(sorted({str(k) for k in kinds.values()}))}",
            "files of one kind",
            "convert one of them",
        )
    for path in files:
        check_readable(path)
    reader: Reader = import_module(f"gatework.data.readers.{READERS[str(kinds[files[0]])]}")
    return reader


def check_readable(path: Path) -> None:
    """Check that a file is there and holds something."""
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is a directory", EXPECTED, f"name the files in it, such as {path}/*.csv"
        )
    with explained(path, EXPECTED), open(open_regular(path), "rb") as file:
        if not file.read(1):
            raise InputError(f"{str(path)!r} is empty", EXPECTED, "name a file with content")


def checksum(files: Sequence[Path]) -> str:
    """Return the checksum of all that files hold."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                found.update(piece)
    return found.hexdigest()


def name_of(files: Sequence[Path]) -> str:
    """Return what several files are called."""
    more = f" and {len(files) - 3:,} more" if len(files) > 3 else ""
    return ", ".join(path.name for path in files[:3]) + more
