"""Sizes for tests that make a layer of any cell: those it names itself, and those it divides."""

import math
import re

from gatework.lang import Cell
from gatework.lang.expressions import postorder


def plain_sizes(cell: Cell, units: int) -> dict[str, int]:
    """So many units for each size but those that a layer finds, as it does axes."""
    found = cell.axis_lengths(units, {})
    return {name: units for name in cell.size_names() if name not in found}


def divisible(cell: Cell, name: str, units: int) -> int:
    """The first number from `units` on that has all the parts that the cell makes of that size.

    Example:
        >>> from gatework import cells
        >>> divisible(cells.quaternion_rnn, "hidden", 7), divisible(cells.gru, "hidden", 7)
        (8, 7)
    """
    sizes = {node.size for node in postorder(cell.named_values())}
    parts = [int(n) for size in sizes for n in re.findall(rf"\b{name}/(\d+)", size)]
    return math.ceil(units / math.lcm(*parts)) * math.lcm(*parts)


def unlike_axes(cell, first):
    """Lengths of a cell's axes from a first one on, each its own but where it reads along both."""
    found = {}
    for length, axis in enumerate(cell.axis_names(), first):
        found.setdefault(axis, length)
        found |= cell.renamed_lengths(found)
    return found
