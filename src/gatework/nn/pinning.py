"""Pinning in a layer: a value is held at a number, at one per unit, or for some units alone.

What is given is checked here, and told apart: what the equations hold themselves, and what is
handed in with the call. See `gatework.compiler.holding`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from gatework.compiler.holding import Held
from gatework.lang.axes import SCALAR, has_axes, slots
from gatework.lang.definition import Cell, check_known
from gatework.lang.expressions import finite
from gatework.lang.sizes import units

Pin = float | Tensor | Mapping[int, float] | Mapping[str, Any]
"""What a value is held at: a number, one per unit [n], or numbers for some units alone.

A value with axes also by a tensor with these axes, of which some may be 1 long, or along one of
them: `{"head": [0.1, 0.9]}`, a number for each head; `{"head": {1: 0.9}}`, one for some alone.
"""


CLOSED_OR_OPEN = (0.0, 1.0)


def held_values(
    cell: Cell,
    pin: Mapping[str, Any],
    sizes: Mapping[str, int],
    like: Tensor,
    dtype: torch.dtype,
) -> tuple[Held, list[Tensor]]:
    """What is held, and the values of the parameters that `pinned_cell` adds to the cell's, [n].

    Args:
        cell: The cell of a layer.
        pin: The held values by name: see `Pin`.
        sizes: The layer's sizes.
        like: A weight of the layer, whose dtype and device the tensors should have.
        dtype: In which the layer computes: numbers are not rounded to the weights'.
    """
    check_known("value", pin, cell.names, f"cell {cell.name!r}")
    numbers, tensors, some, which = [], {}, {}, []
    for name in sorted(pin):
        size = cell.names[name].size
        value, n = pin[name], sizes[size]
        lengths = [units(slot, sizes) for slot in slots(size)] if has_axes(size) else []
        if isinstance(value, Mapping) and any(isinstance(key, str) for key in value):
            value = _along(name, value, size, lengths, like)
        elif lengths and isinstance(value, Tensor) and value.dim() > 1:
            value = _filled(name, value, size, lengths)
        if isinstance(value, Mapping):
            row, held = _of_units(name, value, n, dtype)
            some[name] = like.new_tensor(row, dtype=dtype)
            which.append(like.new_tensor(held, dtype=dtype))
        elif not isinstance(value, Real):
            _check_tensor(name, value, n, like)
            tensors[name] = value.expand(n)
        else:
            number = _number(f"pin[{name!r}]", value, dtype)
            # In a graph no number is special, so that another one needs no other graph.
            if not torch.compiler.is_compiling() and number in CLOSED_OR_OPEN:
                numbers.append((name, number))
            else:
                tensors[name] = like.new_full((n,), number, dtype=dtype)
    names = Held(tuple(numbers), tuple(tensors), tuple(some))
    return names, [*tensors.values(), *some.values(), *which]


def _along(
    name: str, given: Mapping[Any, Any], size: str, lengths: list[int], like: Tensor
) -> Tensor | dict[int, float]:
    """What holds a value along one of its axes, as what holds its units."""
    have = [axis for axis in slots(size) if axis != SCALAR] if lengths else []
    if len(given) != 1 or (axis := next(iter(given))) not in have:
        raise ValueError(
            f"pin[{name!r}] is given along {', '.join(map(repr, given))}; expected one axis of the "
            f"value, which has {', '.join(have) or 'none'}"
        )
    k = slots(size).index(axis)
    places = torch.arange(math.prod(lengths)).reshape(lengths).movedim(k, 0).flatten(1)
    held = given[axis]
    if isinstance(held, Mapping):
        for place in held:
            if isinstance(place, bool) or place not in range(lengths[k]):
                raise ValueError(
                    f"pin[{name!r}] names {axis} {place!r}; there are {lengths[k]}, numbered from 0"
                )
        return {unit: v for place, v in held.items() for unit in places[place].tolist()}
    row = held if isinstance(held, Tensor) else like.new_tensor(held)
    if row.shape != (lengths[k],):
        raise ValueError(
            f"pin[{name!r}] along {axis!r} should be {lengths[k]} numbers, one for each, or a "
            f"mapping from some of them to numbers; got the shape {list(row.shape)}"
        )
    shape = [-1 if i == k else 1 for i in range(len(lengths))]
    return row.reshape(shape).expand(lengths).reshape(-1)


def _filled(name: str, value: Tensor, size: str, lengths: list[int]) -> Tensor:
    """A tensor with the axes of a value, repeated along those of which it has one, [n]."""
    own = [n for n, slot in zip(lengths, slots(size), strict=True) if slot != SCALAR]
    fits = value.dim() == len(own) and all(
        m in (1, n) for m, n in zip(value.shape, own, strict=True)
    )
    if not fits:
        raise ValueError(
            f"pin[{name!r}] should have one number per unit, or the axes {own}, of which some may "
            f"be 1 long; got the shape {list(value.shape)}"
        )
    return value.expand(own).reshape(-1)


def _check_tensor(name: str, value: Any, units: int, like: Tensor) -> None:
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
    if value.dtype != like.dtype or value.device != like.device:
        raise ValueError(
            f"pin[{name!r}] is {value.dtype} on {value.device}, the layer {like.dtype} on "
            f"{like.device}; convert it with .to(dtype=…, device=…)"
        )


def _number(what: str, value: Any, dtype: torch.dtype) -> float:
    """A number that a value can be held at."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} should be a number, got {type(value).__name__}")
    if torch.compiler.is_compiling():  # whatever is asked of a number makes it a part of the graph
        return value  # type: ignore[return-value]
    return finite(f"{what} in {dtype}", value, torch.finfo(dtype).max)


def _of_units(
    name: str, some: Mapping[Any, Any], units: int, dtype: torch.dtype
) -> tuple[list[float], list[float]]:
    """The values of the held units, and 1 for them, 0 for the others: each [n]."""
    values, which = [0.0] * units, [0.0] * units
    for unit, value in some.items():
        if isinstance(unit, bool) or not isinstance(unit, Integral) or unit not in range(units):
            raise ValueError(
                f"pin[{name!r}] names the unit {unit!r}; there are {units}, numbered from 0"
            )
        values[unit], which[unit] = _number(f"pin[{name!r}][{unit}]", value, dtype), 1.0
    return values, which
