"""`gatework cells` and `gatework explain`."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

import gatework
from gatework.cells import catalogue
from gatework.files import write_atomically
from gatework.lang import Cell
from gatework.train.config import check_cell

__all__ = ["explain_cell", "show_cells"]

UNITS = 128
"""Size for which parameters are counted."""


def show_cells() -> None:
    """Print the catalogue as a table, a line for each cell."""
    table = Table(box=None, pad_edge=False)
    table.add_column("cell", no_wrap=True)
    table.add_column("states", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, cell in catalogue().items():
        states = ", ".join(state.name for state in cell.states)
        table.add_row(name, states, f"{_parameters(cell):,}", cell.doc.strip().partition("\n")[0])
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"\nparameters of one layer with {UNITS} units and {UNITS} inputs")


def explain_cell(name: str, picture: Path | None) -> None:
    """Print a cell's equations, derivative and plan.

    Args:
        name: A cell of the catalogue.
        picture: File for the picture of its data flow, or None.
    """
    explained = gatework.explain(catalogue()[check_cell(name)])
    print(explained)
    if picture is not None:
        write_atomically(picture, explained.svg.encode())
        print(f"\npicture  {picture}")


def _parameters(cell: Cell) -> int:
    """Count the learned numbers of a layer of `UNITS` units, any other size being as large."""
    sizes = {"1": 1, **dict.fromkeys(("input", "hidden", *cell.size_names()), UNITS)}
    return sum(math.prod(parameter.shape(sizes)) for parameter in cell.parameters)
