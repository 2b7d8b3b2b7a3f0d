"""Weights as plain arrays, their gates in any order.

Legend: I input size, H hidden size, G gates, T steps, B sequences, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatework.analysis.equivalence import equivalent
from gatework.cells import gru, gru_reset_before, lstm, rnn, rnn_relu
from gatework.convert.given import Weights, rows_of, tensor_of
from gatework.lang.definition import Cell, Parameter
from gatework.lang.expressions import Expr, Symbol, const, postorder
from gatework.nn.layers import GRU, LSTM, RNN
from gatework.nn.recurrent import Recurrent

OTHER_LETTERS = {"c": "gn", "j": "g", "h": "n", "u": "z"}
"""What others call a gate: the candidate c, j or h, the update gate u."""

LARGEST_ERROR = 1e-4  # of an example's outputs, as a share of the largest, or of 1


def from_arrays(
    cell: Cell,
    weights: Weights | Sequence[Any],
    *,
    order: str | Sequence[str],
    gate_axis: int,
    bidirectional: bool = False,
    batch_first: bool = False,
    example: tuple[Any, Any] | None = None,
) -> Recurrent:
    """A layer with weights from elsewhere.

    Args:
        cell: What the weights are for, such as `gatework.cells.lstm`.
        weights: The arrays of each layer and direction, `Weights` or tuples in its order: the first
            layer, its reverse direction, the second layer, …
        order: How the gates follow one another: "ifgo" in torch, "ifco" in Keras, "iofc" in ONNX
            for the LSTM; "rzn" in torch, "zrh" in Keras and ONNX for the GRU. A letter is the
            gate's name in the cell, or another that is usual: c, j or h for the candidate, u for
            the update gate.
        gate_axis: Along which axis of the matrices: 0 in torch and ONNX, 1 in Keras and TensorFlow.
        bidirectional: Whether every second element of `weights` is a reverse direction.
        batch_first: Whether the layer takes [B, T, I].
        example: An input and all outputs that belong to it, as the layer takes and gives them, from
            where the weights come from. The layer is tried on it.

    Raises:
        TypeError: If the cell is no cell or the order no text.
        ValueError: If the order is not that of the cell's gates, the shapes do not fit, or the
            example comes out differently; it says which order would fit.

    Example:
        >>> import numpy as np, gatework as gw
        >>> kernel, recurrent, bias = np.ones((3, 20)), np.ones((5, 20)), np.zeros(20)
        >>> gw.convert.from_arrays(
        ...     gw.cells.lstm, (kernel, recurrent, bias), order="ifco", gate_axis=1
        ... )
        LSTM(3, 5)
    """
    rows = rows_of(weights, bidirectional)
    gates = _checked_order(cell, order)
    blocks = [_divided(w, gates, gate_axis) for w in rows]
    layer = _layer(cell, blocks, bidirectional, batch_first)
    if example is not None:
        _check_example(layer, rows, order, gate_axis, example)
    return layer


def to_arrays(
    layer: Recurrent, *, order: str | Sequence[str], gate_axis: int, biases: int = 2
) -> list[Weights]:
    """A layer's weights as numpy arrays, for each layer and direction.

    Args:
        layer: A layer of ours.
        order: How the gates shall follow one another; see `from_arrays`.
        gate_axis: Along which axis of the matrices they shall lie.
        biases: 2, or 1 for the sum of both.

    Raises:
        TypeError: If it is no layer of ours.
        ValueError: If the cell has other parameters than these arrays hold, or if its biases do not
            simply add up, as in the GRU whose reset gate stands after the product.

    Example:
        >>> import gatework as gw
        >>> [w] = gw.convert.to_arrays(gw.nn.GRU(3, 5), order="zrh", gate_axis=1)
        >>> w.input.shape, w.bias.shape, w.recurrent_bias.shape
        ((3, 15), (15,), (15,))
    """
    check_layer("to_arrays", layer)
    if layer.learned_state:
        raise ValueError("the layer's learned initial state is no part of these arrays")
    gates = _checked_order(layer.cell, order)
    _check_axis(gate_axis)
    if biases not in (1, 2):
        raise ValueError(f"biases should be 1 or 2, got {biases!r}")
    if biases == 1 and not biases_add_up(layer.cell):
        raise ValueError(
            f"the two biases of cell {layer.cell.name!r} do not simply add up; use biases=2"
        )
    found = []
    for parameters in layer.all_weights:
        blocks = _blocks(layer.cell.parameters, parameters)
        sides = [_stacked(blocks.get(part, {}), gates) for part in Weights._fields]
        if biases == 1 and sides[3] is not None:
            sides[2:] = [sides[3] if sides[2] is None else sides[2] + sides[3], None]
        found.append(Weights(*(_turned(s, gate_axis) for s in sides)))
    return found


def check_layer(function: str, layer: object) -> None:
    """Raise unless it is a layer of ours."""
    if not isinstance(layer, Recurrent):
        raise TypeError(
            f"{function} expects a layer of gatework.nn, got {type(layer).__name__}; "
            "gatework.accelerate makes one of torch's"
        )


# ---- the gates ---------------------------------------------------------------------------------


def gates_of(cell: Cell) -> tuple[str, ...]:
    """The cell's gates in its own order.

    Raises:
        ValueError: If a gate has more or other parameters than `Weights` holds.
    """
    first = next((p for p in cell.parameters if p.name == "weight_ih"), None)
    gates = first.blocks if first else ()
    maps = [p for p in cell.parameters if part_of(p) == "recurrent"]
    recurrent = [b for p in maps for b in p.blocks]
    strange = [p.name for p in cell.parameters if part_of(p) is None or set(p.blocks) - set(gates)]
    strange += [p.name for p in maps if p.cols != maps[0].cols]
    if strange or sorted(recurrent) != sorted(gates):
        what = f"it has {strange[0]}" if strange else "not every gate reads input and state"
        raise ValueError(
            f"cell {cell.name!r} is more than one map of the input and one of the state for each "
            f"gate: {what}; carry its weights over by name, with load_state_dict"
        )
    return gates


def part_of(parameter: Parameter) -> str | None:
    """Which of the `Weights` a parameter belongs to."""
    if parameter.name == "weight_ih":
        return "input"
    if parameter.name == "bias_ih":
        return "bias"
    kinds = {"weight": "recurrent", "bias": "recurrent_bias"}
    return kinds.get(parameter.name.partition("_")[0])


def biases_add_up(cell: Cell) -> bool:
    """Whether a cell uses its two biases only as their sum: decided on its equations."""
    nodes = [n for n in postorder(cell.named_values()) if isinstance(n, Symbol)]
    biases = {n.name: n for n in nodes if n.role == "parameter" and n.name.startswith("bias_")}
    moved: dict[Expr, Expr] = {}
    zeroed: dict[Expr, Expr] = {}
    for name, bias in biases.items():
        group, _, gate = name.partition(".")
        if group != "bias_ih" and f"bias_ih.{gate}" in biases:
            first = biases[f"bias_ih.{gate}"]
            moved[first], zeroed[bias] = first - bias, const(0, bias.size)
    if not moved:
        return True
    return equivalent(cell.substituted(moved, cell.name), cell.substituted(zeroed, cell.name))


def _checked_order(cell: Cell, order: str | Sequence[str]) -> list[str]:
    """The order in the cell's own names of its gates."""
    if not isinstance(cell, Cell):
        raise TypeError(f"expected a cell, such as gatework.cells.lstm; got {type(cell).__name__}")
    if not isinstance(order, Sequence):
        raise TypeError(f"order should be a string such as 'ifgo', got {type(order).__name__}")
    gates = gates_of(cell)
    named = [_own_name(letter, gates) for letter in order]
    if sorted(named) != sorted(gates):
        raise ValueError(
            f"order should name each gate of cell {cell.name!r} once: "
            f"{', '.join(gates)}; got {order!r}"
        )
    return named


def _own_name(letter: str, gates: Sequence[str]) -> str:
    if letter in gates:
        return letter
    return next((g for g in OTHER_LETTERS.get(letter, "") if g in gates), letter)


# ---- from arrays -------------------------------------------------------------------------------

Blocks = dict[str, dict[str, Tensor]]
"""For each of the `Weights`, what belongs to each gate: [H, I], [H, H] or [H]."""


def _check_axis(gate_axis: Any) -> None:
    if gate_axis not in (0, 1):
        raise ValueError(
            "gate_axis should be 0, for matrices [gates * hidden, features] as torch's, or 1, for "
            f"[features, gates * hidden] as Keras'; got {gate_axis!r}"
        )


def _divided(weights: Weights, gates: Sequence[str], gate_axis: int) -> Blocks:
    """Arrays divided by gate, checked."""
    _check_axis(gate_axis)
    found: Blocks = {}
    given = {name: array for name, array in weights._asdict().items() if array is not None}
    if "input" not in given or "recurrent" not in given:
        raise ValueError(f"expected arrays for input and state, got only {', '.join(given)}")
    tensors = {name: tensor_of(f"{name} weights", array) for name, array in given.items()}
    dims = {"input": 2, "recurrent": 2, "bias": 1, "recurrent_bias": 1}
    for name, tensor in tensors.items():
        if tensor.dim() != dims[name] or not tensor.is_floating_point():
            raise ValueError(
                f"the {name} weights should be an array of floats with {dims[name]} dimension(s), "
                f"got {tensor.dtype} with the shape {list(tensor.shape)}"
            )
    hidden = tensors["recurrent"].shape[1 - gate_axis]
    for name, tensor in tensors.items():
        along = tensor.shape[gate_axis if tensor.dim() == 2 else 0]
        if along != len(gates) * hidden:
            raise ValueError(
                f"the {name} weights have the shape {list(tensor.shape)}; with {len(gates)} "
                f"gate(s) along axis {gate_axis} and {hidden} hidden units, {len(gates) * hidden} "
                "were expected there" + _hint(tensors["recurrent"], len(gates), gate_axis)
            )
        parts = (tensor.T if tensor.dim() == 2 and gate_axis else tensor).chunk(len(gates))
        found[name] = dict(zip(gates, parts, strict=True))
    return found


def _hint(recurrent: Tensor, gates: int, gate_axis: int) -> str:
    """What to do when the recurrent weights would fit the other way round."""
    fits = recurrent.shape[1 - gate_axis] == gates * recurrent.shape[gate_axis]
    return f"; they fit with gate_axis={1 - gate_axis}" if fits else ""


def _layer(cell: Cell, rows: Sequence[Blocks], bidirectional: bool, batch_first: bool) -> Recurrent:
    """A layer of the cell with these weights."""
    gates, directions = gates_of(cell), 1 + bidirectional
    hidden, input_size = rows[0]["input"][gates[0]].shape
    bias = "bias" in rows[0] or "recurrent_bias" in rows[0]
    made = layer_of(
        cell,
        input_size=input_size,
        hidden_size=hidden,
        num_layers=len(rows) // directions,
        bias=bias,
        batch_first=batch_first,
        bidirectional=bidirectional,
        dtype=rows[0]["input"][gates[0]].dtype,
    )
    for place, (parameters, blocks) in enumerate(zip(made.all_weights, rows, strict=True)):
        if ("bias" in blocks or "recurrent_bias" in blocks) != bias:
            raise ValueError(f"the arrays at place {place} differ from the first in having a bias")
        _fill(made.cell.parameters, parameters, blocks, place)
    return made


def layer_of(cell: Cell, **arguments: Any) -> Recurrent:
    """A layer of a cell, of torch's name where it has one."""
    if cell in (rnn, rnn_relu):
        return RNN(nonlinearity="relu" if cell is rnn_relu else "tanh", **arguments)
    named = {lstm: LSTM, gru: GRU}.get(cell)
    return named(**arguments) if named else Recurrent(cell, **arguments)


def _fill(
    described: Sequence[Parameter], parameters: Sequence[Tensor], blocks: Blocks, place: int
) -> None:
    """Write the blocks of one layer and direction into its parameters."""
    unread = {(part, gate) for part, of_gates in blocks.items() for gate in of_gates}
    for p, parameter in zip(described, parameters, strict=True):
        part = part_of(p)
        assert part is not None
        for gate, target in zip(p.blocks, parameter.detach().chunk(len(p.blocks)), strict=True):
            source = blocks.get(part, {}).get(gate)
            if source is None:  # only biases are left out
                target.zero_()
                continue
            if source.shape != target.shape:
                raise ValueError(
                    f"the {part} weights at place {place} have {list(source.shape)} values for "
                    f"each gate, the layer expects {list(target.shape)}"
                )
            target.copy_(source)
            unread.discard((part, gate))
    lost = [(part, gate) for part, gate in sorted(unread) if blocks[part][gate].any()]
    if lost:
        part, gate = lost[0]
        raise ValueError(f"the cell has no {part} for gate {gate!r}, and the array's is not zero")


# ---- to arrays ---------------------------------------------------------------------------------


def _blocks(described: Sequence[Parameter], parameters: Sequence[Tensor]) -> Blocks:
    """The parameters of one layer and direction, divided by gate."""
    found: Blocks = {}
    for p, parameter in zip(described, parameters, strict=True):
        part = part_of(p)
        assert part is not None
        parts = parameter.detach().cpu().chunk(len(p.blocks))
        found.setdefault(part, {}).update(zip(p.blocks, parts, strict=True))
    return found


def _stacked(blocks: dict[str, Tensor], gates: Sequence[str]) -> Tensor | None:
    """The gates side by side, [G·H, …]; zero for a gate without a bias."""
    if not blocks:
        return None
    zero = torch.zeros_like(next(iter(blocks.values())))
    return torch.cat([blocks.get(gate, zero) for gate in gates])


def _turned(stacked: Tensor | None, gate_axis: int) -> Any:
    if stacked is None:
        return None
    turned = stacked.T if stacked.dim() == 2 and gate_axis else stacked
    return np.ascontiguousarray(turned.numpy())


# ---- an example that must come out -------------------------------------------------------------


def _check_example(
    layer: Recurrent, rows: Sequence[Weights], order: Sequence[str], gate_axis: int, example: Any
) -> None:
    """Raise unless the layer gives the example's outputs; say what would."""
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise TypeError("example should be a pair: an input and all outputs that belong to it")
    x, expected = tensor_of("example's input", example[0]), tensor_of("output", example[1])
    error = _error(layer, x, expected)
    if error <= LARGEST_ERROR:
        return
    gates, fitting = gates_of(layer.cell), []
    for cell in {layer.cell, *({gru, gru_reset_before} if len(gates) == 3 else ())}:
        for other in permutations(gates):
            blocks = [_divided(w, other, gate_axis) for w in rows]
            tried = _layer(cell, blocks, layer.bidirectional, layer.batch_first)
            if _error(tried, x, expected) <= LARGEST_ERROR:
                fitting.append(f"cell {cell.name!r} with the order {''.join(other)!r}")
    hint = " and ".join(fitting) or "no other order of the gates"
    raise ValueError(
        f"with the order {''.join(order)!r} the example's outputs come out differently, by "
        f"{error:.2g}; {hint} gives them"
    )


def _error(layer: Recurrent, x: Tensor, expected: Tensor) -> float:
    with torch.no_grad():
        y, _ = layer(x.to(layer.all_weights[0][0].dtype))
    if y.shape != expected.shape:
        raise ValueError(
            f"the example's outputs should have the shape {list(y.shape)}, all steps of the "
            f"sequence, got {list(expected.shape)}"
        )
    return float((y - expected).abs().max() / max(1.0, float(expected.abs().max())))
