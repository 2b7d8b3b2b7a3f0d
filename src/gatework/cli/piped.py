"""Files that come through standard input."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gatework.errors import InputError

__all__ = ["PIPED", "with_piped"]

PIPED = Path("-")
"""How standard input is named."""


@contextmanager
def with_piped(files: Sequence[Path], suffix: str = ".csv") -> Iterator[tuple[Path, ...]]:
    """Give files, where one of them is standard input with its content in its place.

    Args:
        files: that were named.
        suffix: what standard input holds, by how such a file's name ends.

    Raises:
        InputError: standard input is named twice.
    """
    if PIPED not in files:
        yield tuple(files)
        return
    if files.count(PIPED) > 1:
        raise InputError("- twice", "standard input once", "name it once")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"standard-input{suffix}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield tuple(path if file == PIPED else file for file in files)
