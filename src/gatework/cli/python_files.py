"""A Python file of the user's.

Nothing else in Gatework runs a file, and this runs those alone that were typed in this command.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from gatework.errors import InputError, explained
from gatework.files import read_bytes

__all__ = ["FORM", "MOST_BYTES", "is_python", "run_file", "told_at"]

FORM = re.compile(r"(?P<file>.+\.py)(?::(?P<name>[^:]*))?")
"""A file, and a name in it."""

MOST_BYTES = 10_000_000
"""Of a file."""


def is_python(text: str) -> bool:
    """Return whether what was typed is a Python file, perhaps with a name in it.

    Example:
        >>> is_python("model.py:make"), is_python("runs/mine")
        (True, False)
    """
    return FORM.fullmatch(text) is not None


def run_file(path: Path, expected: str) -> Mapping[str, Any]:
    """Return what a file holds by name, after it was run as `python FILE` would.

    Args:
        path: the file.
        expected: what it should be, in words.

    Raises:
        InputError: there is no such file, or it cannot be run.
    """
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    source = _read(path, expected)
    try:
        with _importing(module, path.parent):
            exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise InputError(
            told_at(error, path),
            "a file that can be run",
            f"correct it; to see more: python {path}",
        ) from None
    return vars(module)


def _read(path: Path, expected: str) -> bytes:
    if not path.exists() and (near := _near(path)):
        raise InputError(f"no such file: {str(path)!r}", expected, f"did you mean {str(near)!r}?")
    with explained(path, expected):
        return read_bytes(path, MOST_BYTES)


def _near(path: Path) -> Path | None:
    """The Python file of the same folder whose name is the nearest."""
    there = {other.stem: other for other in path.parent.glob("*.py")}
    near = difflib.get_close_matches(path.stem, there, n=1)
    return there[near[0]] if near else None


@contextmanager
def _importing(module: ModuleType, folder: Path) -> Iterator[None]:
    """Let a module find those of its folder, as a program does, and others find it."""
    path, before = list(sys.path), sys.modules.get(module.__name__)
    sys.path.insert(0, str(folder.resolve()))
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.path[:] = path
        sys.modules.pop(module.__name__, None)
        if before is not None:
            sys.modules[module.__name__] = before


def told_at(error: BaseException, path: Path) -> str:
    """Return what an error of a file says, with the line of it that was run last."""
    message = str(error)
    if message.startswith(f"{path}:"):  # of a cell's definition, which says where
        return message
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno or 1}: {type(error).__name__}: {error.msg}"
    trace, line = error.__traceback__, 1
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}:{line}: {type(error).__name__}" + f": {message}" * bool(message)
