"""States with axes: which unit stands where, and what is measured of units, told of heads.

T  time steps      B  sequences      n  units, the last axis fastest

A value's lengths are those of its axes by name, in their order: {"head": 4, "key": 16}. A value of
one plain size has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.lang.axes import SCALAR, has_axes, slots
from gatework.lang.sizes import units
from gatework.lens.measurement import Measurement

__all__ = [
    "Lengths",
    "axis_lengths",
    "flat",
    "label",
    "mean_along",
    "parts_along",
    "per_axis",
    "spread",
]

Lengths = Mapping[str, int]
"""How long each axis of a value is, by the axis' name; empty for a value of one plain size."""

M = TypeVar("M", bound=Measurement)


def axis_lengths(size: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """How long the axes of a size are.

    Args:
        size: The size of a value, as `cell.names[name].size`.
        sizes: The numbers of units of a layer: `layer.sizes(k)`.

    Example:
        >>> axis_lengths("head,key,1", {"head": 4, "key": 16, "value": 48})
        {'head': 4, 'key': 16}
        >>> axis_lengths("hidden", {"hidden": 8})
        {}
    """
    if not has_axes(size):
        return {}
    return {axis: units(axis, sizes) for axis in slots(size) if axis != SCALAR}


def label(lengths: Lengths, unit: int) -> str:
    """A unit by its place on each axis; its number where there are none.

    Example:
        >>> label({"head": 4, "key": 16, "value": 48}, 2 * 16 * 48 + 5 * 48 + 7)
        'head 2, key 5, value 7'
        >>> label({}, 17)
        '17'
    """
    if not lengths:
        return str(unit)
    places = np.unravel_index(unit, tuple(lengths.values()))
    return ", ".join(f"{axis} {place}" for axis, place in zip(lengths, places, strict=True))


def spread(values: Tensor, size: str, whole: str, sizes: Mapping[str, int]) -> Tensor:
    """Values [..., n] of one size, repeated along the axes of another that they lack: [..., N].

    Example:
        >>> import torch
        >>> gate = torch.tensor([0.25, 0.75])
        >>> spread(gate, "head,1", "head,key", {"head": 2, "key": 3}).tolist()
        [0.25, 0.25, 0.25, 0.75, 0.75, 0.75]
    """
    if size == whole:
        return values
    lead, lengths = values.shape[:-1], [units(axis, sizes) for axis in slots(whole)]
    own = [1] * len(lengths) if size == SCALAR else [units(axis, sizes) for axis in slots(size)]
    return values.reshape(*lead, *own).expand(*lead, *lengths).reshape(*lead, -1)


def per_axis(values: NDArray[Any], lengths: Lengths, kept: Sequence[str]) -> NDArray[Any]:
    """The mean of values [..., n] over the axes that are not kept: [..., those that are].

    Example:
        >>> per_axis(np.arange(6.0), {"head": 2, "key": 3}, ["head"]).tolist()
        [1.0, 4.0]
    """
    lead = values.ndim - 1
    whole = values.reshape(*values.shape[:-1], *lengths.values())
    over = tuple(lead + k for k, axis in enumerate(lengths) if axis not in kept)
    return np.asarray(whole.mean(axis=over))


def parts_along(values: Tensor, lengths: Lengths, axis: str) -> tuple[Tensor, ...]:
    """Values [B, n] at each place on an axis: [B, n / its length] each.

    Example:
        >>> import torch
        >>> [p.tolist() for p in parts_along(torch.arange(6)[None], {"head": 2, "key": 3}, "head")]
        [[[0, 1, 2]], [[3, 4, 5]]]
    """
    whole = values.reshape(len(values), *lengths.values())
    return tuple(part.flatten(1) for part in whole.unbind(1 + list(lengths).index(axis)))


def flat(values: NDArray[Any], axes: int) -> NDArray[Any]:
    """Values whose last axes, so many, are one."""
    return values.reshape(*values.shape[: values.ndim - axes], -1)


def mean_along(found: M, kept: Sequence[str]) -> M:
    """What was measured of units, for each place on some axes: the mean over their units.

    Args:
        found: A measurement with a field `lengths`; its arrays whose last axis is "unit" are taken.
        kept: The axes, such as ["head"]; a value that lacks one of them is left out.

    Raises:
        ValueError: no value has these axes.
    """
    known: Mapping[str, Lengths] = found.lengths  # type: ignore[attr-defined]
    of = {name: own for name, own in known.items() if set(kept) <= own.keys()}
    if not kept or not of:
        have = sorted({axis for own in known.values() for axis in own})
        raise ValueError(
            f"no value has the axes {', '.join(map(repr, kept)) or 'none'}; "
            f"expected some of {', '.join(have) or 'none: no state of these cells has axes'}"
        )
    left = {name: {a: n for a, n in own.items() if a in kept} for name, own in of.items()}
    changed: dict[str, Any] = {"lengths": left}
    changed |= {
        name: {
            key: flat(per_axis(array, of[key], kept), len(kept))
            for key, array in getattr(found, name).items()
            if key in of
        }
        for name, axes in found.axes().items()
        if axes[-1] == "unit"
    }
    plain = [f.name for f in fields(found) if f.name in ("gates", "states")]
    changed |= {name: tuple(n for n in getattr(found, name) if n in of) for name in plain}
    return replace(found, **changed)
