"""What a layer accepts: each check says what came, what was expected and how to mend it.

The exception types, and the beginnings of the messages, are torch.nn's for the same fault.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from gatework.autograd.job import check_length_values
from gatework.backends.gate import are_watched
from gatework.lang.definition import Cell


def check_sizes(**sizes: Any) -> None:
    """Raise unless every size is a positive int."""
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero, got {value}")


def check_flags(**flags: Any) -> None:
    """Raise unless every flag is a bool."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")


def check_dropout(dropout: Any, num_layers: int) -> None:
    """Raise unless dropout is a probability; warn where torch warns that it does nothing."""
    number = isinstance(dropout, int | float) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an "
            f"element being zeroed, got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and num_layers=1. For "
            "dropout from step to step use recurrent_dropout=",
            stacklevel=4,
        )


def check_hidden_size(cell: Cell, hidden_size: int | None) -> None:
    """Raise unless the hidden size is given, or no value of the cell has it."""
    if hidden_size is not None:
        check_sizes(hidden_size=hidden_size)
    elif cell.has_hidden_size():
        raise TypeError(f"cell {cell.name!r} needs hidden_size, the number of its hidden units")


def check_extra_sizes(
    given: Mapping[str, int], names: Sequence[str], cell: str, options: Iterable[str]
) -> None:
    """Raise unless exactly the sizes that a cell names are given; an option may be misspelt."""
    unknown = sorted(set(given) - set(names))
    if unknown:
        known = ", ".join(names) or "none"
        near = difflib.get_close_matches(unknown[0], [*names, *options], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"its own sizes: {known}"
        raise TypeError(f"cell {cell!r} has no size named {unknown[0]!r}; {hint}")
    missing = sorted(set(names) - set(given))
    if missing:
        raise TypeError(f"cell {cell!r} needs the size {missing[0]!r}; give {missing[0]}=…")
    check_sizes(**given)


def check_same_parameters(cell: Cell, own: Cell, sizes: Mapping[str, int]) -> None:
    """Raise unless a cell can run with the parameters of a layer, and between its states.

    Args:
        cell: The cell.
        own: The layer's.
        sizes: How many units each size has in the layer.
    """
    hint = "make it of the layer's own, layer.cell, or make a layer of it"
    unknown = [name for name in cell.size_names() if name not in sizes]
    if unknown:
        raise ValueError(f"cell {cell.name!r} has the size {unknown[0]!r}, the layer none; {hint}")
    shapes = {p.name: p.shape(sizes) for p in own.parameters}
    for p in cell.parameters:
        if shapes.get(p.name) != p.shape(sizes):
            has = f"has {list(shapes[p.name])}" if p.name in shapes else "has none"
            raise ValueError(
                f"cell {cell.name!r} reads a parameter {p.name!r} of the shape "
                f"{list(p.shape(sizes))}, the layer {has}; {hint}"
            )
    inputs = [(s.name, s.role, sizes[s.size]) for s in cell.further]
    if inputs != [(s.name, s.role, sizes[s.size]) for s in own.further]:
        names = ", ".join(s.name for s in own.inputs)
        raise ValueError(f"cell {cell.name!r} has other inputs than the layer's {names}; {hint}")
    states = [(s.name, sizes[s.size]) for s in cell.states]
    if states != [(s.name, sizes[s.size]) for s in own.states]:
        names = ", ".join(s.name for s in own.states)
        raise ValueError(f"cell {cell.name!r} has other states than the layer's {names}; {hint}")
    given, wanted = (sizes[c.output_value.size] for c in (cell, own))
    if given != wanted:
        raise ValueError(
            f"cell {cell.name!r} has an output of {given} units, the layer one of {wanted}; {hint}"
        )


def check_layer(layer: int, count: int) -> None:
    """Raise unless there is a layer of that number."""
    if not -count <= layer < count:
        raise IndexError(f"there are {count} layers, numbered from 0; got {layer}")


def check_free(names: Sequence[str], taken: Container[str], cell: str) -> None:
    """Raise when a learned initial state would have the name of a parameter of the cell."""
    for name in names:
        if name in taken:
            raise ValueError(
                f"cell {cell!r} has a parameter {name!r} of its own, which is the name of a "
                "learned initial state; rename it in the cell, or leave learned_state out"
            )


def check_layers(cell: Cell, layers: Sequence[Mapping[str, int]]) -> None:
    """Raise unless the cell's inputs and states have sizes that the layers can give them.

    Args:
        cell: The cell of every layer.
        layers: The numbers of units by name of size, for each layer; "input" is what it reads.
    """
    for layer, sizes in enumerate(layers):
        got, expected = sizes["input"], sizes[cell.input.size]
        if got != expected:
            raise ValueError(
                f"cell {cell.name!r} combines its input with values of the {cell.input.size} size "
                f"unit by unit, so layer {layer} expects {expected} input features, got {got}; "
                "map the input first, with torch.nn.Linear"
            )
        for row in cell.further:
            first = layers[0][row.size]
            if sizes[row.size] != first:
                raise ValueError(
                    f"cell {cell.name!r} reads {row.name!r}, which has the input's size, {first} "
                    f"in layer 0 and {sizes[row.size]} in layer {layer}, so it fits the lowest "
                    "layer alone; make one layer of this cell, and put layers of another on it"
                )
        for state in cell.states:
            first = layers[0][state.size]
            if sizes[state.size] != first:
                raise ValueError(
                    f"the state {state.name!r} of cell {cell.name!r} has the input's size, which "
                    f"is {first} in layer 0 and {sizes[state.size]} in layer {layer}, so one state "
                    "cannot hold both; give the layers inputs of one size, or stack single layers"
                )


def check_input(layer: str, x: Any, dims: tuple[int, int]) -> None:
    """Raise unless the input is a tensor of one of two numbers of dimensions."""
    if not isinstance(x, Tensor):
        forms = "a tensor, an array, a DataFrame or a list of these"
        raise TypeError(f"{layer}: expected the input as {forms}, got {type(x).__name__}")
    if x.is_nested:
        raise TypeError(
            f"{layer}: expected one step of each sequence, got a nested one; give the sequences to "
            "a layer, or a tensor [B, I]"
        )
    if x.layout is not torch.strided:
        raise TypeError(
            f"{layer}: expected the input as a dense tensor, got the layout {x.layout}; "
            "give input.to_dense()"
        )
    if x.dim() not in dims:
        shown = " or ".join(f"{d}D" for d in dims)
        raise ValueError(f"{layer}: Expected input to be {shown}, got {x.dim()}D tensor instead")


def check_dtype(x: Tensor, weight: Tensor) -> None:
    """Raise unless the input has the weights' dtype."""
    if x.dtype != weight.dtype:
        raise ValueError(
            f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight.dtype}). "
            f"Convert input: input.to({weight.dtype}), or convert model: model.to({x.dtype})"
        )


def check_device(x: Tensor, weight: Tensor) -> None:
    """Raise unless the input is on the weights' device."""
    if x.device != weight.device:
        raise RuntimeError(
            f"the input is on {x.device}, the weights on {weight.device}; "
            f"move one: input.to({str(weight.device)!r})"
        )


def check_shape(x: Tensor, input_size: int) -> None:
    """Raise unless the input [T, B, I] has a step, and the input size."""
    steps, _, features = x.shape
    if features != input_size:
        raise RuntimeError(
            "input.size(-1) must be equal to input_size. "
            f"Expected {input_size}, got {features} in an input of shape {list(x.shape)}"
        )
    if steps == 0:
        raise RuntimeError(
            "Expected sequence length to be larger than 0 in RNN, got an input without steps, "
            f"of shape {list(x.shape)} in the order time, batch, features"
        )


def check_lengths(lengths: Any, steps: int, batch: int) -> Tensor:
    """The lengths as an int64 tensor [B]; raise unless each is between 0 and the steps."""
    lengths = as_tensor(lengths)
    if lengths.dtype.is_floating_point or lengths.dtype in (torch.bool, torch.complex64):
        raise TypeError(f"lengths should be integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        hint = "; is batch_first right?" if lengths.shape == (steps,) else ""
        raise ValueError(
            f"lengths should have one number for each of the {batch} sequences, "
            f"got the shape {list(lengths.shape)}{hint}"
        )
    numbers = _unwrapped(lengths)
    if _has_values(numbers):
        check_length_values(numbers, steps)
    checked: Tensor = lengths.to(torch.int64)
    return checked


def _has_values(tensor: Tensor) -> bool:
    """Whether numbers can be read now: else whoever runs the call looks at them."""
    if torch.compiler.is_compiling() or are_watched():
        return False
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def _unwrapped(tensor: Tensor) -> Tensor:
    """The numbers that the transforms of torch.func have wrapped, for all that they run."""
    if torch.compiler.is_compiling():
        return tensor
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def as_tensor(value: Any) -> Tensor:
    """A tensor as it is, a list or an array as one on the CPU, whatever the default device is."""
    return value if isinstance(value, Tensor) else torch.as_tensor(value, device="cpu")


def _checked_tensor(value: Any, expected: str) -> Tensor:
    """A tensor, an array or a list as a tensor; the message begins with what was expected."""
    try:
        return as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{expected}, got {type(value).__name__}: {error}") from None


def check_resets(resets: Any, shape: tuple[int, ...]) -> Tensor:
    """The resets as a bool tensor; raise unless there is one for each step of each sequence."""
    flags = _checked_tensor(resets, "resets should be booleans")
    if flags.dtype != torch.bool:
        raise TypeError(f"resets should be booleans, got {flags.dtype}; write resets.bool()")
    if flags.shape != shape:
        trailing = tuple(flags.shape) == (*shape, 1)
        hint = "; write resets.squeeze(-1)" if trailing else ""
        raise ValueError(
            f"resets should have one boolean for each step of each sequence, {list(shape)} in the "
            f"layout of the input; got the shape {list(flags.shape)}{hint}"
        )
    return flags


def check_mask(mask: Any, shape: tuple[int, ...]) -> Tensor:
    """The mask as a bool tensor; raise unless there is one for each step of each sequence."""
    flags = _checked_tensor(mask, "the mask should be booleans")
    if flags.dtype != torch.bool:
        raise TypeError(f"the mask should be booleans, got {flags.dtype}; write mask.bool()")
    if flags.shape != shape:
        raise ValueError(
            "the mask should have one boolean for each step of each sequence, "
            f"{list(shape)} in the layout of the input; got the shape {list(flags.shape)}"
        )
    return flags


def check_nested(layer: str, x: Tensor) -> None:
    """Raise unless a nested tensor is [B, T, I] with T of its own in each sequence."""
    turned = x.layout is torch.jagged and x._ragged_idx != 1  # type: ignore[attr-defined]
    if x.dim() != 3 or turned:
        shape = f" of the shape {tuple(x.shape)}" if x.layout is torch.jagged else ""
        raise ValueError(
            f"{layer}: expected a nested tensor as [sequences, steps, features], ragged in its "
            f"steps, got {x.dim()} dimensions{shape}; make it of one tensor [steps, features] for "
            "each sequence"
        )


def check_listed(layer: str, sequences: Sequence[Any]) -> list[Tensor]:
    """Sequences [T, I] of a list as tensors; raise unless they can stand in one batch."""
    if not sequences:
        raise ValueError(f"{layer}: expected a list of sequences, got an empty one")
    for k, x in enumerate(sequences):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{layer}: expected a list of tensors, arrays or DataFrames [steps, features], one "
                f"for each sequence; element {k} is of type {type(x).__name__}"
            )
    tensors = list(sequences)
    for k, x in enumerate(tensors):
        if x.dim() != 2 or x.shape[1] != tensors[0].shape[-1]:
            raise ValueError(
                f"{layer}: expected each sequence of the list as [steps, features], with the same "
                f"features; element {k} has the shape {list(x.shape)}, the first "
                f"{list(tensors[0].shape)}"
            )
        if x.dtype != tensors[0].dtype or x.device != tensors[0].device:
            raise ValueError(
                f"{layer}: the sequences of a list should have one dtype and device; element {k} "
                f"is {x.dtype} on {x.device}, the first {tensors[0].dtype} on {tensors[0].device}"
            )
    return tensors


def check_which(which: Any, batch: int) -> Tensor:
    """Sequences of a batch, given as booleans or by number, as booleans [B]."""
    given = _checked_tensor(which, "expected booleans or numbers of sequences")
    if given.dtype == torch.bool:
        if given.shape != (batch,):
            raise ValueError(
                f"expected one boolean for each of the {batch} sequences, "
                f"got the shape {list(given.shape)}"
            )
        return given
    if given.dtype.is_floating_point or given.dtype.is_complex:
        if given.numel():  # an empty list has torch's default dtype
            raise TypeError(f"expected booleans or numbers of sequences, got {given.dtype}")
        given = given.long()
    if given.numel() and not -batch <= int(given.min()) <= int(given.max()) < batch:
        raise ValueError(f"there are {batch} sequences, numbered from 0; got {given.tolist()}")
    chosen = torch.zeros(batch, dtype=torch.bool, device="cpu")
    chosen[given.flatten().long().cpu()] = True
    return chosen


def check_reset_to(resets: Any, reset_to: Any) -> None:
    """Raise when there is a value to return to, but nothing that returns to it."""
    if resets is None and reset_to is not None:
        raise ValueError("reset_to says what resets return to; give resets=… as well")


def check_state(state: Any, names: Sequence[str]) -> tuple[Tensor, ...]:
    """The state as one tensor for each of the cell's states."""
    if not isinstance(state, Tensor | tuple | list):
        raise TypeError(f"the state should be {_form(names)}, got {type(state).__name__}")
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    if len(states) != len(names):
        raise ValueError(
            f"the state should be {_form(names)}, got {len(states)} "
            f"{'tensor' if isinstance(state, Tensor) else 'values'}"
        )
    for value in states:
        if not isinstance(value, Tensor):
            raise TypeError(f"the state should be {_form(names)}, got {type(value).__name__} in it")
    return states


def _form(names: Sequence[str]) -> str:
    return "one tensor" if len(names) == 1 else f"a tuple of tensors ({', '.join(names)})"


def check_state_dims(states: Sequence[Tensor], batched: bool) -> None:
    """Raise unless the state is batched exactly when the input is."""
    dims, kind, form = (3, "batched 3-D", "3-D") if batched else (2, "unbatched 2-D", "2-D")
    for state in states:
        if state.dim() != dims:
            raise RuntimeError(
                f"For {kind} input, hx should also be {form} but got {state.dim()}-D tensor"
            )


def check_state_shape(
    states: Sequence[Tensor], shapes: Sequence[tuple[int, ...]], names: Sequence[str], x: Tensor
) -> None:
    """Raise unless each state has its shape [layers * directions, B, n] and the input's dtype."""
    for k, (state, shape, name) in enumerate(zip(states, shapes, names, strict=True)):
        if state.shape != shape:
            which = f"hidden[{k}]" if len(states) > 1 else "hidden"
            raise RuntimeError(
                f"Expected {which} size {shape}, got {list(state.shape)}: the state {name!r} is "
                "[num_layers * num_directions, batch, size], also with batch_first=True"
            )
        if state.dtype != x.dtype or state.device != x.device:
            raise RuntimeError(
                f"the state {name!r} is {state.dtype} on {state.device}, the input is {x.dtype} "
                f"on {x.device}; convert one with .to(…)"
            )


# ---- one step ----------------------------------------------------------------------------------


def check_step_features(x: Tensor, input_size: int) -> None:
    """Raise unless the input [B, I] of a single step has the input size."""
    if x.size(1) != input_size:
        raise RuntimeError(
            f"input has inconsistent input_size: got {x.size(1)} expected {input_size}"
        )


def check_step_dtype(x: Tensor, weight: Tensor) -> None:
    """Raise unless the input of a single step has the weights' dtype."""
    if x.dtype != weight.dtype:
        raise RuntimeError(
            f"the input is {x.dtype}, the weights are {weight.dtype}; "
            f"convert one: input.to({weight.dtype})"
        )


def check_step_state_dims(layer: str, states: Sequence[Tensor]) -> None:
    """Raise unless each state of a single step is [B, n] or [n]."""
    for k, state in enumerate(states):
        if state.dim() not in (1, 2):
            which = f"hx[{k}]" if len(states) > 1 else "hidden"
            raise ValueError(
                f"{layer}: Expected {which} to be 1D or 2D, got {state.dim()}D instead"
            )


def check_step_states(states: Sequence[Tensor], sizes: Sequence[int], x: Tensor) -> None:
    """Raise unless each state of a single step fits the input and the cell."""
    for k, (state, size) in enumerate(zip(states, sizes, strict=True)):
        if state.dim() != 2 or state.size(0) != x.size(0):
            raise RuntimeError(
                f"Input batch size {x.size(0)} doesn't match hidden{k} batch size {state.size(0)}"
            )
        if state.size(1) != size:
            raise RuntimeError(
                f"hidden{k} has inconsistent hidden_size: got {state.size(1)}, expected {size}"
            )
        if state.dtype != x.dtype:
            raise RuntimeError(
                f"hidden{k} is {state.dtype}, the input is {x.dtype}; convert one with .to(…)"
            )
