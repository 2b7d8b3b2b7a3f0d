"""A Python file with cells of one's own.

Nothing else in Gatework runs a file, and this runs those alone that were typed in this command.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from gatework.cells import catalogue
from gatework.errors import InputError, explained, suggest
from gatework.files import read_bytes
from gatework.lang.definition import Cell

__all__ = ["CellFile", "defined_here"]

MOST_BYTES = 10_000_000
"""Of a file."""
DECORATE = "put @cell above it (from gatework import cell)"


class CellFile:
    """A file that was run, as `python FILE` would, and the cells that it defines.

    Raises:
        InputError: there is no such file, or it cannot be run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _run(path)

    def named(self, name: str) -> Cell:
        """The cell that the file calls by a name.

        Raises:
            InputError: it has none of this name.
        """
        found = self._content.get(name)
        if isinstance(found, Cell):
            return found if found.name == name else replace(found, name=name)
        place = f"{name!r} in {str(self.path)!r}"
        if isinstance(found, FunctionType):
            raise InputError(f"{place} is a function, not a cell", "a cell", DECORATE)
        if name in self._content:
            came = f"{place} is of the type {type(found).__name__}, not a cell"
        else:
            came = f"no {place}"
        known = self.cells()
        raise InputError(
            came,
            f"one of its cells: {', '.join(known) or 'it has none'}",
            f"{suggest(name, known)}check the name",
        )

    def only(self) -> Cell:
        """The cell of a file that has one.

        Raises:
            InputError: it has none, or several.
        """
        known = self.cells()
        if len(known) == 1:
            return self.named(known[0])
        if known:
            raise InputError(
                f"{len(known)} cells in {str(self.path)!r}: {', '.join(known)}",
                "one of them, by its name",
                f"write {self.path}:{known[0]}",
            )
        raise InputError(f"no cell in {str(self.path)!r}", "a function that is a cell", DECORATE)

    def cells(self) -> list[str]:
        """What its cells are called: each once, none that is private or of the catalogue."""
        listed = {id(cell) for cell in catalogue().values()}
        names: dict[Cell, str] = {}
        for name, value in self._content.items():
            if isinstance(value, Cell) and id(value) not in listed and not name.startswith("_"):
                names.setdefault(value, name)
        return list(names.values())


def defined_here(name: str) -> str | None:
    """How a function of a Python file in this folder is typed; the files are read and not run."""
    definition = re.compile(rf"^def {re.escape(name)}\(".encode(), re.MULTILINE)
    for path in sorted(Path().glob("*.py")):
        with suppress(InputError, OSError):
            if definition.search(read_bytes(path, MOST_BYTES)):
                return f"{path}:{name}"
    return None


def _run(path: Path) -> Mapping[str, Any]:
    """What a file holds by name, after it was run."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    source = _read(path)
    try:
        with _importing(module, path.parent):
            exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise InputError(
            _told(error, path), "a file that can be run", f"correct it; to see more: python {path}"
        ) from None
    return vars(module)


def _read(path: Path) -> bytes:
    expected = "a Python file with a cell in it"
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


def _told(error: BaseException, path: Path) -> str:
    """An error of the file with the line of it that was run last."""
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
