"""The sizes that a cell names itself, for tests that make a layer of any cell."""

from gatework.lang import Cell


def plain_sizes(cell: Cell, units: int) -> dict[str, int]:
    """So many units for each size that is no axis: a layer finds the axes' lengths by itself."""
    axes = cell.axis_names()
    return {name: units for name in cell.size_names() if name not in axes}
