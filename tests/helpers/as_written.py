"""What is left of a cell that is written down as data."""

from dataclasses import replace

from gatework.lang import Cell
from gatework.lang.definition import LOST, Start


def as_written(cell: Cell) -> Cell:
    """The cell without the functions from which its parameters start."""
    starts = (replace(p, init=LOST) if isinstance(p.init, Start) else p for p in cell.parameters)
    return replace(cell, parameters=tuple(starts))
