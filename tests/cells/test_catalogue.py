"""The catalogue has every cell that is written."""

import pkgutil
from importlib import import_module

from gatework import cells
from gatework.lang import Cell


def test_every_cell_that_is_written_is_listed():
    modules = [m.name for m in pkgutil.iter_modules(cells.__path__, "gatework.cells.")]
    found = {n for m in modules for n, v in vars(import_module(m)).items() if isinstance(v, Cell)}
    assert found == set(cells.catalogue())
