"""Layers of Keras 3 as ours, and ours as theirs.

Keras keeps matrices as [features, gates * units], the LSTM's gates as i, f, c, o and the GRU's as
z, r, h; a GRU with reset_after=True has two biases, all others one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gatework.analysis.equivalence import equivalent
from gatework.cells import gru, gru_reset_before, lstm, rnn, rnn_relu
from gatework.convert.arrays import check_layer, from_arrays, part_of, to_arrays
from gatework.convert.given import Weights
from gatework.convert.keras_layers import (
    catalogue_cell,
    directions_of,
    kind_of,
    variables_of,
    warn_of_losses,
)
from gatework.convert.overrides import changed_computation
from gatework.lang.definition import Cell, Parameter
from gatework.lang.rewriting import single_bias
from gatework.nn.recurrent import Recurrent

ORDERS = {"LSTM": "ifco", "GRU": "zrh", "SimpleRNN": "h"}
"""How the gates follow one another in each of Keras' layers."""


def from_keras(layers: Any, *, cell: Cell | None = None) -> Recurrent:
    """A layer of ours with the weights of Keras' LSTM, GRU or SimpleRNN, or Bidirectional of one.

    It gives all steps, as Keras does with return_sequences=True, and takes [B, T, I]. What is not
    trainable there needs no gradient here.

    Args:
        layers: A built layer of Keras, or several to stack.
        cell: What the layers compute, where their activations are not those of the catalogue's
            cell: a cell with the same gates, such as an LSTM written with `clamp`.

    Raises:
        TypeError: If a layer is of another kind, or of a class derived from Keras' that computes
            something of its own.
        ValueError: If a layer has no weights yet, or computes what the cell does not.

    Warns:
        UserWarning: If a layer has what is not carried over, such as dropout or a carried state.

    Example:
        >>> import keras, gatework as gw
        >>> layer = keras.layers.GRU(5)
        >>> layer.build((None, None, 3))
        >>> gw.convert.from_keras(layer)
        GRU(3, 5, batch_first=True)
    """
    if cell is not None and not isinstance(cell, Cell):
        raise TypeError(f"cell should be a cell of gatework, got {type(cell).__name__}")
    layers = list(layers) if isinstance(layers, Sequence) else [layers]
    rows = [directions_of(layer) for layer in layers]
    if not rows or len({len(r) for r in rows}) != 1:
        raise ValueError("a stack needs layers, and all with one direction or all Bidirectional")
    flat = [layer for r in rows for layer in r]
    cells = [cell or catalogue_cell(layer) for layer in flat]
    if len({(c.name, kind_of(one)) for c, one in zip(cells, flat, strict=True)}) != 1:
        names = ", ".join(c.name for c in cells)
        raise ValueError(f"the layers of a stack should be of one kind, got {names}")
    for layer in flat:
        warn_of_losses(layer)
    made = from_arrays(
        cells[0],
        [Weights(*_arrays(layer)) for layer in flat],
        order=ORDERS[str(kind_of(flat[0]))],
        gate_axis=1,
        bidirectional=len(rows[0]) == 2,
        batch_first=True,
    )
    _freeze(made, flat)
    return made.to(getattr(torch, flat[0].cell.kernel.dtype))


def to_keras(layer: Recurrent) -> list[Any]:
    """A layer of ours as layers of Keras, one for each of `num_layers`, built and with its weights.

    They return all steps. `keras.Sequential` makes a model of them.

    Args:
        layer: A layer of the cells lstm, gru, gru_reset_before, rnn or rnn_relu.

    Raises:
        TypeError: If it is no layer of ours.
        ModuleNotFoundError: If keras is not installed.
        ValueError: If Keras has no such cell.

    Example:
        >>> import gatework as gw
        >>> [layer] = gw.convert.to_keras(gw.nn.LSTM(3, 5))
        >>> [tuple(w.shape) for w in layer.weights]
        [(3, 20), (5, 20), (20,)]
    """
    check_layer("to_keras", layer)
    changed = changed_computation(layer, "gatework.")
    if changed:
        raise TypeError(
            f"to_keras would not convert what this {type(layer).__name__} computes: {changed}; "
            "make a layer of gatework.nn of its state_dict, if that is what is meant"
        )
    import keras

    kinds: dict[Cell, tuple[type[Any], dict[str, Any]]] = {
        lstm: (keras.layers.LSTM, {}),
        gru: (keras.layers.GRU, {"reset_after": True}),
        gru_reset_before: (keras.layers.GRU, {"reset_after": False}),
        rnn: (keras.layers.SimpleRNN, {}),
        rnn_relu: (keras.layers.SimpleRNN, {"activation": "relu"}),
    }
    cell = next((c for c in kinds if _computes(layer.eval_cell, c)), None)
    if cell is None:
        known = ", ".join(c.name for c in kinds)
        raise ValueError(
            f"Keras has no layer that computes what this {layer.cell.name!r} does in eval mode; "
            f"it has {known}"
        )
    make, arguments = kinds[cell]
    double = cell is gru
    order = ORDERS[make.__name__]
    arrays = to_arrays(layer, order=order, gate_axis=1, biases=2 if double else 1)
    dtype = str(arrays[0].input.dtype)
    found = []
    for k in range(layer.num_layers):
        made = make(
            layer.hidden_size, use_bias=layer.bias, return_sequences=True, dtype=dtype, **arguments
        )
        if layer.bidirectional:
            made = keras.layers.Bidirectional(made, dtype=dtype)
        rows = arrays[k * layer.num_directions : (k + 1) * layer.num_directions]
        made.build((None, None, rows[0].input.shape[0]))
        made.set_weights([a for row in rows for a in _of_keras(row, double)])
        for one, parameters in zip(
            [made.forward_layer, made.backward_layer] if layer.bidirectional else [made],
            layer.all_weights[k * layer.num_directions :],
            strict=False,
        ):
            _freeze_theirs(one, layer, parameters)
        found.append(made)
    return found


def _arrays(layer: Any) -> list[Any]:
    """The weights of a layer as numpy arrays."""
    from keras import ops

    return [ops.convert_to_numpy(w) for w in variables_of(layer).values()]


def _freeze(made: Recurrent, layers: Sequence[Any]) -> None:
    """Parameters whose variable is not trainable need no gradient."""
    for layer, parameters in zip(layers, made.all_weights, strict=True):
        trained = {part: bool(v.trainable) for part, v in variables_of(layer).items()}
        for described, parameter in zip(made.cell.parameters, parameters, strict=True):
            parameter.requires_grad_(trained[_variable(described)])


def _freeze_theirs(layer: Any, made: Recurrent, parameters: Sequence[torch.Tensor]) -> None:
    """Variables none of whose parameters needs a gradient are not trainable."""
    variables = variables_of(layer)
    trained = {
        _variable(described)
        for described, parameter in zip(made.cell.parameters, parameters, strict=True)
        if parameter.requires_grad
    }
    if not trained:
        layer.trainable = False
    for part, variable in variables.items():
        if part not in trained:
            variable.trainable = False


def _variable(parameter: Parameter) -> str:
    """Which of Keras' variables a parameter belongs to."""
    part = part_of(parameter)
    assert part is not None
    return "bias" if part == "recurrent_bias" else part


def _computes(cell: Cell, known: Cell) -> bool:
    """Whether a cell has the equations of a known one, with two biases, one or none."""
    return any(
        equivalent(single_bias(cell), single_bias(one)) for one in (known, known.without_bias())
    )


def _of_keras(weights: Weights, double: bool) -> list[Any]:
    """What Keras' set_weights takes for one layer and direction."""
    if weights.bias is None:
        return [weights.input, weights.recurrent]
    bias = np.stack([weights.bias, weights.recurrent_bias]) if double else weights.bias
    return [weights.input, weights.recurrent, bias]
