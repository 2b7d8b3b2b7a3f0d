"""One cell of each form: for what sees of a cell what goes in and out of it, never its equations.

    @pytest.mark.parametrize("cell", one_of_each_form(gw.cells.catalogue()))

A cell of a form that no other has is among them as soon as it is listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatework.lang import Cell


def one_of_each_form(cells: Mapping[str, Cell]) -> list[str]:
    """Names of cells that differ in inputs, in sizes, in noise, in what is known."""
    return list({_form(cell): name for name, cell in cells.items()}.values())


def _form(cell: Cell) -> tuple[object, ...]:
    sizes = tuple(s.size for s in cell.states)
    read = tuple((s.role, s.size) for s in cell.further)
    output = None if cell.output is None else cell.output.size
    return sizes, read, output, len(cell.noises), all(p.learned for p in cell.parameters)
