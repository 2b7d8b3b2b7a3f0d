"""A cell from what was typed: one of the catalogue or of a file, perhaps with values held.

lstm                    the catalogue's
gru[r=1,z=0]            with gates held; a constant of the cell is set in the same way
my_cells.py:latch       what a file calls `latch`
my_cells.py             the only cell of a file
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from gatework.cells import catalogue
from gatework.cli.cell_files import CellFile, defined_here
from gatework.errors import InputError, suggest
from gatework.lang.definition import Cell
from gatework.train.cells import check_cell, check_unlike

__all__ = ["cell_typed", "cells_typed"]

FORM = re.compile(
    r"(?:(?P<file>.+\.py)(?::(?P<name>[^:\[\]]*))?|(?P<listed>[^\[\]]*))(?:\[(?P<values>.*)\])?"
)
COMMA = re.compile(r",(?![^\[]*\])")
"""A comma that does not stand between brackets."""
OWN = "my_cells.py:latch"
"""How a cell of one's own is typed."""


def cell_typed(text: str) -> Cell:
    """Return the cell that was typed.

    Raises:
        InputError: there is none, or its file cannot be run.

    Example:
        >>> cell_typed("gru[r=1, z=0]")
        <cell gru[r=1,z=0](x, h)>
    """
    return _cell(text, {})


def cells_typed(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells that were typed, several in a text with commas between them.

    Raises:
        InputError: there is none, one of them is not there, or two have the same name.

    Example:
        >>> [cell.name for cell in cells_typed(["lstm,gru[r=1,z=0]", "rnn"])]
        ['lstm', 'gru[r=1,z=0]', 'rnn']
    """
    parts = [part.strip() for text in texts for part in COMMA.split(text) if part.strip()]
    if not parts:
        came, expected = f"--cell {','.join(texts)!r}", "cells separated by commas"
        raise InputError(came, expected, "write --cell lstm,gru,rnn")
    files: dict[Path, CellFile] = {}
    cells = tuple(_cell(part, files) for part in parts)
    check_unlike(cells)
    return cells


def _cell(text: str, files: dict[Path, CellFile]) -> Cell:
    """The cell of a text; `files` are those that were run, each once."""
    form = FORM.fullmatch(text)
    if form is None:
        expected = f"a cell such as lstm, gru[r=1,z=0] or {OWN}"
        raise InputError(f"cell {text!r}", expected, "write it in one of these ways")
    if form["file"] is None:
        cell = _listed(form["listed"])
    else:
        path = Path(form["file"])
        file = files[path] = files.get(path) or CellFile(path)
        cell = file.only() if form["name"] is None else file.named(form["name"])
    return cell if form["values"] is None else _with_values(cell, form["values"])


def _listed(name: str) -> Cell:
    own = None if name in catalogue() else defined_here(re.split("[:.]", name)[-1])
    if ":" in name:
        came = f"cell {name!r}: {name.partition(':')[0]!r} is no Python file"
        mend = f"write it as in {OWN}" if own is None else f"write {own}"
        raise InputError(came, "a file whose name ends in .py", mend)
    try:
        return catalogue()[check_cell(name)]
    except InputError as error:
        expected = f"{error.expected}, or one of a file: {OWN}"
        mend = error.mend if own is None else f"write {own}"
        raise InputError(error.came, expected, mend) from None


def _with_values(cell: Cell, text: str) -> Cell:
    """The cell with constants set and values held, as they stand between the brackets."""
    given = dict(map(_value, text.split(",")))
    constants = {n: v for n, v in given.items() if n in cell.constants}
    held = {n: v for n, v in given.items() if n not in constants}
    try:
        cell = cell(**constants) if constants else cell
        for name in held:
            _check_value(name, cell)
        return cell.pin(held)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        came = f"{cell.name}[{text}]: {error}"
        raise InputError(came, "values that the cell can have", "give others") from None


def _value(text: str) -> tuple[str, int | float]:
    name, _, number = (part.strip() for part in text.partition("="))
    try:
        value = int(number) if re.fullmatch(r"[+-]?[0-9]{1,15}", number) else float(number)
    except ValueError:
        value = math.nan
    if name and math.isfinite(value):
        return name, value
    raise InputError(
        f"{text!r} between the brackets of a cell",
        "a name and a number for each value",
        "write them as in gru[r=1,z=0]",
    )


def _check_value(name: str, cell: Cell) -> None:
    if name not in cell.names:
        constants = ", ".join(cell.constants) or "none"
        raise InputError(
            f"cell {cell.name!r} has no {name!r}",
            f"one of its values: {', '.join(cell.names)}; or of its constants: {constants}",
            f"{suggest(name, [*cell.names, *cell.constants])}gatework explain shows what they are",
        )
