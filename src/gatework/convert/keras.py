"""Layers of Keras 3 as ours, and ours as theirs.

Keras keeps matrices as [features, gates * units], the LSTM's gates as i, f, c, o and the GRU's as
z, r, h; a GRU with reset_after=True has two biases, all others one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gatework.cells import gru, gru_reset_before, lstm, rnn, rnn_relu
from gatework.convert.arrays import Weights, check_layer, from_arrays, to_arrays
from gatework.lang.definition import Cell
from gatework.lang.equivalence import equivalent
from gatework.lang.rewriting import single_bias
from gatework.nn.recurrent import Recurrent

ORDERS = {"LSTMCell": "ifco", "GRUCell": "zrh", "SimpleRNNCell": "h"}
"""How the gates follow one another in each of Keras' cells."""

ACTIVATIONS = {"activation": "tanh", "recurrent_activation": "sigmoid"}
"""What the catalogue's cells compute with."""


def from_keras(layers: Any, *, cell: Cell | None = None) -> Recurrent:
    """A layer of ours with the weights of Keras' LSTM, GRU or SimpleRNN, or Bidirectional of one.

    It gives all steps, as Keras does with return_sequences=True, and takes [B, T, I].

    Args:
        layers: A built layer of Keras, or several to stack.
        cell: What the layers compute, where their activations are not those of the catalogue's
            cell: a cell with the same gates, such as an LSTM written with `clamp`.

    Raises:
        TypeError: If a layer is of another kind.
        ValueError: If a layer has no weights yet, or computes what the cell does not.

    Example:
        >>> import keras, gatework as gw
        >>> layer = keras.layers.GRU(5)
        >>> layer.build((None, None, 3))
        >>> gw.convert.from_keras(layer)
        GRU(3, 5, batch_first=True)
    """
    layers = list(layers) if isinstance(layers, Sequence) else [layers]
    rows = [_directions(layer) for layer in layers]
    if not rows or len({len(r) for r in rows}) != 1:
        raise ValueError("a stack needs layers, and all with one direction or all Bidirectional")
    flat = [layer for r in rows for layer in r]
    cells = [cell or _cell(layer) for layer in flat]
    if len({c.name for c in cells}) != 1:
        names = ", ".join(c.name for c in cells)
        raise ValueError(f"the layers of a stack should be of one kind, got {names}")
    order = ORDERS[type(flat[0].cell).__name__]
    return from_arrays(
        cells[0],
        [Weights(*_arrays(layer)) for layer in flat],
        order=order,
        gate_axis=1,
        bidirectional=len(rows[0]) == 2,
        batch_first=True,
    )


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
    order = ORDERS[f"{make.__name__}Cell"]
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
        found.append(made)
    return found


def _arrays(layer: Any) -> list[Any]:
    """The weights of a layer as numpy arrays."""
    from keras import ops

    return [ops.convert_to_numpy(w) for w in layer.cell.weights]


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


def _directions(layer: Any) -> list[Any]:
    """The layer itself, or the two of a Bidirectional; checked."""
    import keras

    both = isinstance(layer, keras.layers.Bidirectional)
    if both and layer.merge_mode != "concat":
        raise ValueError(
            f"{layer.name!r} has merge_mode={layer.merge_mode!r}, a layer of ours concatenates its "
            "directions; convert a copy with merge_mode='concat' and merge the halves yourself"
        )
    found = [layer.forward_layer, layer.backward_layer] if both else [layer]
    for one, backwards in zip(found, (False, True), strict=False):
        kind = type(getattr(one, "cell", None)).__name__
        if not isinstance(one, keras.layers.RNN) or kind not in ORDERS:
            raise TypeError(
                "from_keras takes LSTM, GRU, SimpleRNN and Bidirectional of Keras 3, "
                f"got {type(one).__name__}; for others there is from_arrays"
            )
        if one.go_backwards != backwards:
            raise ValueError(
                f"{one.name!r} has go_backwards={one.go_backwards}, so it reads its input "
                f"{'forward' if backwards else 'from the end'}; convert one with "
                f"go_backwards={backwards} and turn its input and output with torch.flip"
            )
        if not one.cell.built:
            raise ValueError(f"{one.name!r} has no weights yet; call it once, or build it")
    return found


def _cell(layer: Any) -> Cell:
    """The catalogue's cell that computes what a layer of Keras does."""
    from keras import activations

    theirs = layer.cell
    used = {n: activations.serialize(getattr(theirs, n)) for n in ACTIVATIONS if hasattr(theirs, n)}
    for name in ("dropout", "recurrent_dropout"):
        if getattr(theirs, name):
            warnings.warn(
                f"{layer.name!r} has {name}={getattr(theirs, name)}, which is not carried over; "
                "predictions are the same, training is not",
                stacklevel=4,
            )
    simple = type(theirs).__name__ == "SimpleRNNCell"
    if simple and used["activation"] == "relu":
        return rnn_relu
    for name, activation in used.items():
        if activation != ACTIVATIONS[name]:
            raise ValueError(
                f"{layer.name!r} has {name}={activation!r}, the cells of the catalogue have "
                f"{ACTIVATIONS[name]!r} there; write the cell with its own function and give it as "
                "cell=…"
            )
    if simple:
        return rnn
    if type(theirs).__name__ == "LSTMCell":
        return lstm
    return gru if theirs.reset_after else gru_reset_before
