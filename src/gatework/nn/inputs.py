"""What a cell reads beside its input, as a call is given it: `layer(x, gap=dt, speaker=s)`.

Legend: T steps, B sequences, n the size of an input.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatework.lang.axes import named, slots
from gatework.lang.definition import Cell
from gatework.lang.expressions import Symbol
from gatework.nn.given import as_rows
from gatework.nn.packing import Padded
from gatework.nn.precision import CASTABLE, within

TAKEN = (
    "self", "input", "hx", "lengths", "resets", "reset_to", "pin", "names", "x", "batch_size",
    "which",
)  # fmt: skip
"""The names that calls of layers, traces and streams have for their own arguments."""

Given = Mapping[str, Any]
"""Further inputs as they were given, by name."""

Sizes = Mapping[str, int]
Lengths = tuple[int, ...]  # of each axis of a row


def check_names(cell: Cell) -> None:
    """Raise when a further input of a cell has the name of an argument of a layer's calls."""
    for row in cell.further:
        if row.name in TAKEN:
            raise ValueError(
                f"cell {cell.name!r} reads an input named {row.name!r}, which is the name of an "
                "argument of a layer's own; rename it in the cell"
            )


def check_given(cell: Cell, given: Given, wanted: Iterable[Symbol], own: Sequence[str]) -> None:
    """Raise unless exactly the further inputs are given that a call needs.

    Args:
        cell: The cell.
        given: What was given.
        wanted: Those of the cell's further inputs that are expected.
        own: The names of the call's own arguments, one of which may be misspelt.
    """
    names = [row.name for row in wanted]
    unknown = next((n for n in given if n not in names), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, [*names, *own], 1)
        reads = f"cell {cell.name!r} reads {', '.join(names) or 'nothing'} beside its input"
        hint = f"did you mean {near[0]!r}?" if near else reads
        raise TypeError(f"got an unexpected keyword argument {unknown!r}; {hint}")
    missing = [n for n in names if n not in given]
    if missing:
        wants = ", ".join(f"{n}=…" for n in missing)
        raise TypeError(
            f"cell {cell.name!r} reads {', '.join(missing)} as well as its input; give {wants}"
        )


# ---- whole sequences ---------------------------------------------------------------------------

CALL = ("hx", "lengths", "resets", "reset_to", "pin", "names")


def further_rows(cell: Cell, given: Given, padded: Padded, sizes: Sizes) -> tuple[Tensor, ...]:
    """The further inputs of a call in the order of the cell: [T, B, n], or [B, n] for a sequence.

    Args:
        cell: The cell.
        given: What was given, in the form of the input.
        padded: The input.
        sizes: The layer's sizes.
    """
    check_given(cell, given, cell.further, CALL)
    forms = {"sequence": _each_step, "constant": _once}
    return tuple(
        forms[s.role](s.name, given[s.name], padded, shape_of_row(s.size, sizes))
        for s in cell.further
    )


def shape_of_row(size: str, sizes: Mapping[str, int]) -> Lengths:
    """How many units a row has along each of the axes that it has; of one number, 1."""
    return tuple(sizes[slots(size)[k]] for k in named(size)) or (1,)


def _each_step(name: str, value: Any, padded: Padded, units: Lengths) -> Tensor:
    """What is read at each step, as [T, B, n]."""
    steps, batch, _ = padded.sequence.shape
    if isinstance(value, PackedSequence):
        value = _unpacked(name, value, padded)
        return _converted(name, value, (steps, batch), units, padded.sequence, padded.dtype)
    value = padded.dense(name, value)
    outer: tuple[int, ...] = (batch, steps) if padded.batch_first else (steps, batch)
    if not padded.batched:
        outer = (steps,)
    rows = _converted(name, value, outer, units, padded.sequence, padded.dtype)
    if not padded.batched:
        return rows.unsqueeze(1)
    if padded.batch_first:
        rows = rows.transpose(0, 1)
    return _in_order(rows, padded, 1)


def _once(name: str, value: Any, padded: Padded, units: Lengths) -> Tensor:
    """What is read once for a whole sequence, as [B, n]."""
    outer = padded.sequence.shape[1:2] if padded.batched else ()
    value = as_rows(name, value, padded.sequence)
    rows = _converted(name, value, outer, units, padded.sequence, padded.dtype)
    return _in_order(rows, padded, 0) if padded.batched else rows.unsqueeze(0)


def _in_order(rows: Tensor, padded: Padded, batch: int) -> Tensor:
    """Rows in the order of the batch: longest first, where the input is packed."""
    packed = padded.packed
    if packed is None or packed.sorted_indices is None:
        return rows
    return rows.index_select(batch, packed.sorted_indices)


def _unpacked(name: str, value: PackedSequence, padded: Padded) -> Tensor:
    """A packed further input as [T, B, n], in the packed order of the input."""
    packed = padded.packed
    if packed is None or not torch.equal(packed.batch_sizes, value.batch_sizes):
        came = "of other lengths than" if packed is not None else "but not"
        raise ValueError(
            f"{name} is a packed sequence, {came} the input; pack both with the same lengths, or "
            f"give {name} as a tensor"
        )
    data = value.data if value.data.dim() > 1 else value.data.unsqueeze(-1)
    rows, _ = pad_packed_sequence(PackedSequence(data, value.batch_sizes))
    mine, own = (p.unsorted_indices for p in (value, packed))
    if own is not mine and (own is None or mine is None or not torch.equal(own, mine)):
        raise ValueError(
            f"{name} is packed in another order than the input; pack both with the same lengths"
        )
    return rows


# ---- single steps ------------------------------------------------------------------------------


def step_rows(
    cell: Cell, given: Given, x: Tensor, sizes: Sizes, batched: bool, half: bool
) -> tuple[Tensor, ...]:
    """The further inputs of a single step in the order of the cell: [1, B, n], or [B, n].

    Args:
        cell: The cell.
        given: What was given.
        x: The input [B, I].
        sizes: The layer's sizes.
        batched: Whether the input came as [B, I]; else as [I].
        half: Whether the call is one of half precision.
    """
    check_given(cell, given, cell.further, ("hx",))
    dtype = x.dtype if half else None
    outer = (len(x),) if batched else ()
    rows = []
    for s in cell.further:
        row = _converted(s.name, given[s.name], outer, shape_of_row(s.size, sizes), x, dtype)
        row = row if batched else row.unsqueeze(0)
        rows.append(row.unsqueeze(0) if s.role == "sequence" else row)
    return tuple(rows)


# ---- one value ---------------------------------------------------------------------------------


def _converted(
    name: str,
    value: Any,
    outer: tuple[int, ...],
    lengths: Lengths,
    x: Tensor,
    half: torch.dtype | None,
) -> Tensor:
    """A further input as [*outer, n], as exact as the input and where it is.

    Booleans count as 0 and 1, and a number stands for a tensor full of it where n is 1. One with
    axes comes with them, [*outer, *axes], or flat.
    """
    units = math.prod(lengths)
    if isinstance(value, Real) and units == 1:
        number: Any = value
        return x.new_full((*outer, 1), number)
    if not isinstance(value, Tensor):
        kinds = "a tensor or a number" if units == 1 else "a tensor"
        raise TypeError(f"{name} should be {kinds}, got {type(value).__name__}")
    if value.is_nested or value.layout is not torch.strided:
        raise TypeError(f"{name} should be a dense tensor; give it padded, or as tensor.to_dense()")
    if units == 1 and value.dim() == len(outer):
        value = value.unsqueeze(-1)
    if len(lengths) > 1 and value.shape == (*outer, *lengths):
        value = value.flatten(len(outer))
    if value.shape != (*outer, units):
        raise ValueError(_shape_problem(name, value.shape, outer, lengths))
    return in_dtype(name, value, x, half)


def in_dtype(name: str, value: Tensor, x: Tensor, half: torch.dtype | None) -> Tensor:
    """A tensor in the input's dtype; raise where it has neither that nor booleans, or its device.

    Args:
        name: What it is called.
        value: The tensor.
        x: The input.
        half: To which dtype a call of half precision rounds, which takes float32 as well.
    """
    if value.device != x.device:
        raise RuntimeError(
            f"{name} is on {value.device}, the input on {x.device}; "
            f"move one: {name}.to({str(x.device)!r})"
        )
    if value.dtype == torch.bool:
        return value.to(x.dtype)
    if half is not None and value.dtype in CASTABLE:
        return within(value, x.dtype)
    if value.dtype != x.dtype:
        raise ValueError(
            f"{name} is {value.dtype}, the input {x.dtype}; convert it: {name}.to({x.dtype})"
        )
    return value


def _shape_problem(
    name: str, shape: Iterable[int], outer: tuple[int, ...], lengths: Lengths
) -> str:
    wanted, units = [*outer, *lengths], math.prod(lengths)
    other = [*outer, units] if len(lengths) > 1 else list(outer)
    last = f" or {other}" if len(lengths) > 1 or units == 1 else ""
    turned = len(outer) == 2 and tuple(shape)[:2] == outer[::-1]
    hint = "; is batch_first right?" if turned and outer[0] != outer[1] else ""
    return f"{name} should have the shape {wanted}{last}, got {list(shape)}{hint}"


# ---- streams -----------------------------------------------------------------------------------


def memory_of(cell: Cell, x: Tensor, sizes: Sizes) -> dict[str, Tensor]:
    """Where the further inputs of a step lie that reads x [1, B, I], by name: zeros.

    That is [1, B, n] for what is read at each step, [B, n] for what is read once for a sequence.
    """
    outer = {"sequence": x.shape[:2], "constant": x.shape[1:2]}
    return {s.name: x.new_zeros((*outer[s.role], sizes[s.size])) for s in cell.further}


def write(name: str, value: Any, memory: Tensor, lengths: Lengths, dtype: torch.dtype) -> None:
    """Write what is given for one step, or once for its sequences, into its memory [.., B, n].

    Args:
        name: The input's name.
        value: [B, n] or [B, *axes], without the B when it is 1; without the n, or a number, where
            n is 1.
        memory: Where it goes.
        lengths: Those of its axes.
        dtype: That of the layer.
    """
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    batch, units = memory.shape[-2:]
    if isinstance(value, Tensor):
        forms = ((units,), lengths, *([()] if units == 1 else []))
        alone = batch == 1 and tuple(value.shape) in forms
        value = value.detach().reshape(1, units) if alone else value.detach()
    like = memory.new_empty((), dtype=dtype)
    memory.copy_(_converted(name, value, (batch,), lengths, like, None))
