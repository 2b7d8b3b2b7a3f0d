"""A trace as arrays and tables with named axes, for other libraries.

Legend: L layers, D directions, T steps, B sequences, n units of a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gatework.lang.axes import SCALAR, slots
from gatework.lang.sizes import units

if TYPE_CHECKING:
    from gatework.nn.traces import LayerTrace

DIRECTIONS = ("forward", "reverse")
UNIT_AXES = {"hidden": "unit", "input": "feature", "1": "number"}  # others: the cell's own name


def stacked(trace: LayerTrace, name: str) -> Tensor:
    """A value of all layers and directions: [L, D, …] with the trace's dims behind.

    Where layers have different numbers of units, NaN stands for those that a layer has not.
    """
    rows = [[direction[name] for direction in layer] for layer in trace.layers]
    most = max(row.shape[-1] for layer in rows for row in layer)
    return torch.stack([torch.stack([_widened(r, most) for r in layer]) for layer in rows])


def _widened(row: Tensor, units: int) -> Tensor:
    return pad(row, (0, units - row.shape[-1]), value=torch.nan) if row.shape[-1] < units else row


def arrays(trace: LayerTrace) -> dict[str, np.ndarray[Any, Any]]:
    """Every named value as an array [L, D, …]."""
    return {name: _array(stacked(trace, name)) for name in trace}


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    value = value.detach().cpu()
    exact = value.float() if value.dtype == torch.bfloat16 else value  # numpy has no bfloat16
    found: np.ndarray[Any, Any] = exact.numpy()
    return found


def dataset(trace: LayerTrace) -> Any:
    """An xarray.Dataset with a variable for each named value; NaN past a sequence's end."""
    xarray = _optional("xarray", "to_xarray")
    variables, coordinates = {}, _coordinates(trace)
    inside = _inside(trace)
    for name, values in arrays(trace).items():
        if inside is not None:
            values = np.where(inside[..., None], values, np.nan).astype(values.dtype)
        axes = _last_axes(trace, trace.sizes[name], values.shape[-1])
        coordinates |= {axis: np.arange(length) for axis, length in axes.items()}
        values = values.reshape(*values.shape[:-1], *axes.values())
        variables[name] = (("layer", "direction", *trace.dims[:-1], *axes), values)
    if trace.lengths is not None:
        coordinates["length"] = ("batch", trace.lengths.cpu().numpy())
    return xarray.Dataset(variables, coordinates)


def _last_axes(trace: LayerTrace, size: str, count: int) -> dict[str, int]:
    """What a value's units are counted by, and how long each of it is.

    The hidden size is "unit" also where it is an axis, unless a cell has an axis of that name.
    """
    own = [slot for slot in slots(size) if slot != SCALAR] or [size]
    usual = {slot: UNIT_AXES.get(slot, slot) for slot in own}
    named = {slot: slot if name in trace.axes else name for slot, name in usual.items()}
    if len(own) == 1:
        return {named[own[0]]: count}
    return {named[slot]: units(slot, trace.axes) for slot in own}


def frame(trace: LayerTrace) -> Any:
    """A pandas.DataFrame: a row for each layer, direction, step, sequence and unit."""
    pandas = _optional("pandas", "to_pandas")
    columns = arrays(trace)
    units = max(values.shape[-1] for values in columns.values())
    labels: Mapping[str, Iterable[Any]] = {**_coordinates(trace), "unit": np.arange(units)}
    index = pandas.MultiIndex.from_product(labels.values(), names=labels.keys())
    table = pandas.DataFrame({n: _column(v, units) for n, v in columns.items()}, index)
    inside = _inside(trace)
    if inside is not None:
        rows = np.broadcast_to(inside[..., None], (*columns[next(iter(trace))].shape[:-1], units))
        table = table[rows.reshape(-1)]
    return table


def _column(values: np.ndarray[Any, Any], units: int) -> np.ndarray[Any, Any]:
    """The numbers of a value one after the other, NaN for units that it has not."""
    missing = units - values.shape[-1]
    if missing:
        values = np.pad(
            values, [(0, 0)] * (values.ndim - 1) + [(0, missing)], constant_values=np.nan
        )
    return values.reshape(-1)


def _coordinates(trace: LayerTrace) -> dict[str, Any]:
    """The labels of every axis but the last."""
    shape = trace[next(iter(trace))].shape
    counted = {dim: np.arange(n) for dim, n in zip(trace.dims[:-1], shape, strict=False)}
    directions = DIRECTIONS[: len(trace.layers[0])]
    return {"layer": np.arange(len(trace.layers)), "direction": list(directions), **counted}


def _inside(trace: LayerTrace) -> np.ndarray[Any, Any] | None:
    """Which steps belong to their sequence, in the order of the trace's dims; None when all do."""
    if trace.lengths is None:
        return None
    steps = trace[next(iter(trace))].shape[trace.dims.index("time")]
    inside = np.arange(steps) < trace.lengths.cpu().numpy()[:, None]  # [B, T]
    return inside if trace.dims[0] == "batch" else inside.T


def _optional(package: str, method: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{method}() needs {package}, which is not installed: pip install {package}"
        ) from error
