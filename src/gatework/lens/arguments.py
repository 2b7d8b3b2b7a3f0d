"""Arguments of measurements, looked at before anything is run: what came, what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gatework.lang.definition import Cell


def check_whole(**numbers: Any) -> None:
    """Raise unless all are whole numbers."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}; expected a whole number")


def check_functions(**functions: Any) -> None:
    """Raise unless all that are given can be called."""
    for name, value in functions.items():
        if value is not None and not callable(value):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a function")


def check_several(what: str, **collections: Any) -> None:
    """Raise unless all that are given can be gone through."""
    for name, value in collections.items():
        if value is not None and not isinstance(value, Iterable):
            raise TypeError(f"{name} is a {type(value).__name__}; expected {what}")


def check_cell(cell: Any) -> None:
    """Raise unless it is a cell."""
    if not isinstance(cell, Cell):
        raise TypeError(f"expected a cell, such as gatework.cells.lstm; got {type(cell).__name__}")
