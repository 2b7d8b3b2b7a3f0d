"""Pinning in a layer: a held value may be a number, or a tensor with one value per unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from torch import Tensor

from gatework.lang.definition import Cell, Parameter, check_known
from gatework.lang.expressions import Expr, symbol


def pinned(
    cell: Cell, pin: Mapping[str, Any] | None, sizes: Mapping[str, int]
) -> tuple[Cell, dict[str, Tensor]]:
    """The pinned cell and, by parameter name, the tensors that hold its values.

    Args:
        cell: The cell of a layer.
        pin: The held values by name: numbers, or tensors [n] with one value per unit.
        sizes: The layer's sizes.
    """
    if not pin:
        return cell, {}
    check_known("value", pin, cell.names, f"cell {cell.name!r}")
    numbers = {n: float(v) for n, v in pin.items() if isinstance(v, int | float)}
    tensors = {n: v for n, v in pin.items() if n not in numbers}
    for name, value in tensors.items():
        _check_tensor(name, value, sizes[cell.names[name].size])
    key = tuple(sorted(numbers.items())), tuple(sorted(tensors))
    return _pinned(cell, *key), {_held_by(n): v for n, v in tensors.items()}


def _held_by(name: str) -> str:
    """The parameter that holds a named value; a dot would make it a block of another one."""
    return f"pin_{name.replace('.', '__')}"


def _check_tensor(name: str, value: Any, units: int) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"pin[{name!r}] should be a number or a tensor, got {type(value).__name__}")
    if value.shape not in ((), (units,)):
        raise ValueError(
            f"pin[{name!r}] should be a number or a tensor of {units} values, one per unit, "
            f"got the shape {list(value.shape)}"
        )


@lru_cache(maxsize=256)
def _pinned(cell: Cell, numbers: tuple[tuple[str, float], ...], tensors: tuple[str, ...]) -> Cell:
    rows = {n: symbol(_held_by(n), "parameter", cell.names[n].size) for n in tensors}
    held: dict[str, float | Expr] = {**dict(numbers), **rows}
    new = cell.pin(held)
    values = tuple(Parameter(s.name, (s.name,), (s.size,)) for s in rows.values())
    # A trace may ask for what went into a pinned gate, so nothing that it reads is left out.
    return replace(new, parameters=(*cell.parameters, *values), noises=cell.noises)
