"""One cell of each form: for what sees of a cell what goes in and out of it, never its equations.

    @pytest.mark.parametrize("cell", one_of_each_form(gw.cells.catalogue()))

A cell of a form that no other has is among them as soon as it is listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatework.lang import Cell


def one_of_each_form(cells: Mapping[str, Cell]) -> list[str]:
    """Names of cells that differ in how many states they have, in their sizes, or in noise."""
    forms = {(*(s.size for s in c.states), len(c.noises)): name for name, c in cells.items()}
    return list(forms.values())
