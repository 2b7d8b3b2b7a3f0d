"""Pinning in a layer: a value is held at a number, at one per unit, or for some units alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gatework.lang.definition import Cell, Parameter, check_known
from gatework.lang.expressions import Expr, apply, symbol

Pin = float | Tensor | Mapping[int, float]
"""What a value is held at: a number, one per unit [n], or numbers for some units alone."""


def pinned(
    cell: Cell, pin: Mapping[str, Any] | None, sizes: Mapping[str, int]
) -> tuple[Cell, dict[str, Tensor]]:
    """The pinned cell and, by parameter name, the tensors that hold its values.

    Args:
        cell: The cell of a layer.
        pin: The held values by name: numbers, tensors [n] with one value per unit, or mappings
            from some units to their numbers.
        sizes: The layer's sizes.
    """
    if not pin:
        return cell, {}
    check_known("value", pin, cell.names, f"cell {cell.name!r}")
    numbers = {n: float(v) for n, v in pin.items() if isinstance(v, int | float)}
    units = {n: v for n, v in pin.items() if isinstance(v, Mapping)}
    tensors = {n: v for n, v in pin.items() if n not in numbers and n not in units}
    for name, value in tensors.items():
        _check_tensor(name, value, sizes[cell.names[name].size])
    held = {_held_by(n): v for n, v in tensors.items()}
    for name, some in units.items():
        held |= _of_units(name, some, sizes[cell.names[name].size])
    key = tuple(sorted(numbers.items())), tuple(sorted(tensors)), tuple(sorted(units))
    return _pinned(cell, *key), held


def _held_by(name: str) -> str:
    """The parameter that holds a named value; a dot would make it a block of another one."""
    return f"pin_{name.replace('.', '__')}"


def _held_units(name: str) -> str:
    """The parameter that is 1 for the units that are held, 0 for the others."""
    return f"{_held_by(name)}__units"


def _check_tensor(name: str, value: Any, units: int) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"pin[{name!r}] should be a number, a tensor, or a mapping from units to numbers; "
            f"got {type(value).__name__}"
        )
    if value.shape not in ((), (units,)):
        raise ValueError(
            f"pin[{name!r}] should be a number or a tensor of {units} values, one per unit, "
            f"got the shape {list(value.shape)}"
        )


def _of_units(name: str, some: Mapping[Any, Any], units: int) -> dict[str, Tensor]:
    """The values of the held units, and which they are: each [n]."""
    values, which = torch.zeros(2, units, dtype=torch.float64)
    for unit, value in some.items():
        if isinstance(unit, bool) or not isinstance(unit, int) or not 0 <= unit < units:
            raise ValueError(
                f"pin[{name!r}] names the unit {unit!r}; there are {units}, numbered from 0"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"pin[{name!r}][{unit}] should be a number, got {type(value).__name__}")
        values[unit], which[unit] = value, 1
    return {_held_by(name): values, _held_units(name): which}


@lru_cache(maxsize=256)
def _pinned(
    cell: Cell,
    numbers: tuple[tuple[str, float], ...],
    tensors: tuple[str, ...],
    units: tuple[str, ...],
) -> Cell:
    sizes = {n: cell.names[n].size for n in (*tensors, *units)}
    rows = {n: symbol(_held_by(n), "parameter", size) for n, size in sizes.items()}
    which = {n: symbol(_held_units(n), "parameter", sizes[n]) for n in units}
    held: dict[str, float | Expr] = {**dict(numbers), **{n: rows[n] for n in tensors}}
    new = cell.changing({n: _for_some(which[n], rows[n]) for n in units}).pin(held)
    read = (*rows.values(), *which.values())
    values = tuple(Parameter(s.name, (s.name,), (s.size,)) for s in read)
    # A trace may ask for what went into a pinned gate, so nothing that it reads is left out.
    return replace(new, parameters=(*cell.parameters, *values), noises=cell.noises)


def _for_some(which: Expr, held: Expr) -> Callable[[Expr], Expr]:
    return lambda value: apply("where", which, held, value)
