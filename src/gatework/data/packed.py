"""Packed files (gzip, zstd) as what they hold, unpacked onto the disk, not into memory."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO

from gatework.errors import InputError

__all__ = ["is_packed", "lines_of", "unpacked"]

MARKS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""How packed files begin."""
CHUNK = 1 << 20


def is_packed(path: Path) -> bool:
    """Whether a file is one that `unpacked` can read."""
    with path.open("rb") as file:
        return _kind(file) is not None


def unpacked(path: Path) -> int:
    """Return the descriptor of a file without a name that has what is packed in another.

    Raises:
        InputError: it is damaged, or zstd cannot be read here.
    """
    with path.open("rb") as file, TemporaryFile() as plain:
        kind = _kind(file)
        try:
            UNPACKERS[kind or "gzip"](file, plain)
        except _errors() as error:
            raise InputError(
                f"{str(path)!r} cannot be unpacked ({error})",
                f"a whole {kind} file",
                "restore it, or unpack it yourself and name what comes out",
            ) from None
        plain.flush()
        return os.dup(plain.fileno())


def lines_of(path: Path) -> Iterator[str]:
    """Go through the lines of a text, packed or not.

    Raises:
        InputError: it is not UTF-8, or damaged.
    """
    descriptor = unpacked(path) if is_packed(path) else os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise InputError(
                    f"{path}, line {number:,} is not UTF-8",
                    "a text in one encoding",
                    f"convert it: iconv -f LATIN1 -t UTF-8 {path} > utf8-{path.name}",
                ) from None


def _kind(file: BinaryIO) -> str | None:
    start = file.read(4)
    file.seek(0)
    return next((kind for mark, kind in MARKS.items() if start.startswith(mark)), None)


def _gzip(file: BinaryIO, plain: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=file) as content:
        shutil.copyfileobj(content, plain, CHUNK)


def _zstd(file: BinaryIO, plain: IO[bytes]) -> None:
    if find_spec("zstandard") is None:
        raise InputError(
            f"{file.name!r} is packed with zstd",
            "the package that reads it",
            "pip install zstandard, or unpack the file: unzstd",
        )
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    while piece := file.read(CHUNK):
        plain.write(frame.decompress(piece))
        while frame.eof and frame.unused_data:  # another frame follows
            rest = frame.unused_data
            frame = zstandard.ZstdDecompressor().decompressobj()
            plain.write(frame.decompress(rest))
    if not frame.eof:
        raise EOFError("it ends in the middle")


def _errors() -> tuple[type[Exception], ...]:
    """What is raised where packed content is damaged."""
    of_gzip = (EOFError, zlib.error, gzip.BadGzipFile)
    if find_spec("zstandard") is None:
        return of_gzip
    import zstandard

    return (*of_gzip, zstandard.ZstdError)


UNPACKERS: dict[str, Callable[[BinaryIO, IO[bytes]], None]] = {"gzip": _gzip, "zstd": _zstd}
