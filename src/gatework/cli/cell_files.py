"""A Python file with cells of one's own."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FunctionType

from gatework.cells import catalogue
from gatework.cli.python_files import MOST_BYTES, run_file
from gatework.errors import InputError, suggest
from gatework.files import read_bytes
from gatework.lang.definition import Cell

__all__ = ["CellFile", "defined_here"]

EXPECTED = "a Python file with a cell in it"
DECORATE = "put @cell above it (from gatework import cell)"


class CellFile:
    """A file that was run, as `python FILE` would, and the cells that it defines.

    Raises:
        InputError: there is no such file, or it cannot be run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = run_file(path, EXPECTED)

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
