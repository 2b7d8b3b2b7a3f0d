"""Layers of Keras, recognised: what each computes and holds, and what cannot be carried over.

A layer of a class of the user's own is no layer of Keras by its name or by what it derives from: it
is one only if nothing that computes has been changed.
"""

from __future__ import annotations

import warnings
from typing import Any

from gatework.cells import gru, gru_reset_before, lstm, rnn, rnn_relu
from gatework.convert.overrides import changed_computation
from gatework.lang.definition import Cell

KINDS = ("LSTM", "GRU", "SimpleRNN")
ACTIVATIONS = {"activation": "tanh", "recurrent_activation": "sigmoid"}
"""What the catalogue's cells compute with."""


def kind_of(layer: Any) -> str | None:
    """Which of Keras' three a layer's cell is, or is derived from."""
    from keras import layers

    cell = getattr(layer, "cell", None)
    return next((k for k in KINDS if isinstance(cell, getattr(layers, f"{k}Cell"))), None)


def directions_of(layer: Any) -> list[Any]:
    """The layer itself, or the two of a Bidirectional; checked."""
    import keras

    both = isinstance(layer, keras.layers.Bidirectional)
    found = [layer.forward_layer, layer.backward_layer] if both else [layer]
    for one in found:
        if not isinstance(one, keras.layers.RNN) or kind_of(one) is None:
            raise TypeError(
                "from_keras takes LSTM, GRU, SimpleRNN and Bidirectional of Keras 3, "
                f"got {type(one).__name__}; for others there is from_arrays"
            )
    for part in (*([layer] if both else []), *found, *(one.cell for one in found)):
        changed = changed_computation(part, "keras.")
        if changed:
            raise TypeError(
                f"{part.name!r} need not compute what a layer of Keras does: {changed}. Write it "
                "as a cell; from_arrays then takes its weights"
            )
    if both and layer.merge_mode != "concat":
        raise ValueError(
            f"{layer.name!r} has merge_mode={layer.merge_mode!r}, a layer of ours concatenates its "
            "directions; convert a copy with merge_mode='concat' and merge the halves yourself"
        )
    for one, backwards in zip(found, (False, True), strict=False):
        if one.go_backwards != backwards:
            raise ValueError(
                f"{one.name!r} has go_backwards={one.go_backwards}, so it reads its input "
                f"{'forward' if backwards else 'from the end'}; convert one with "
                f"go_backwards={backwards} and turn its input and output with torch.flip"
            )
        if not one.cell.built:
            raise ValueError(f"{one.name!r} has no weights yet; call it once, or build it")
    return found


def variables_of(layer: Any) -> dict[str, Any]:
    """A layer's own variables, by what they are of `Weights`."""
    cell = layer.cell
    found = {"input": cell.kernel, "recurrent": cell.recurrent_kernel}
    return {**found, "bias": cell.bias} if cell.use_bias else found


def catalogue_cell(layer: Any) -> Cell:
    """The catalogue's cell that computes what a layer of Keras does."""
    kind, theirs = kind_of(layer), layer.cell
    if kind == "SimpleRNN" and _is(theirs.activation, "relu"):
        return rnn_relu
    for name, usual in ACTIVATIONS.items():
        used = getattr(theirs, name, None)
        if hasattr(theirs, name) and not _is(used, usual):
            raise ValueError(
                f"{layer.name!r} has {name}={_shown(used)!r}, the cells of the catalogue have "
                f"{usual!r} there; write the cell with its own function and give it as cell=…"
            )
    if kind == "GRU":
        return gru if theirs.reset_after else gru_reset_before
    return lstm if kind == "LSTM" else rnn


def _is(function: Any, name: str) -> bool:
    """Whether a function is Keras' own of that name; one of the user's may bear it too."""
    from keras import activations, ops

    return function is getattr(activations, name) or function is getattr(ops, name)


def _shown(function: Any) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    module = getattr(function, "__module__", "") or ""
    return name if module.startswith("keras.") else f"{module}.{name}"


def warn_of_losses(layer: Any) -> None:
    """Warn of what a layer has and a layer of ours will not have."""
    cell = layer.cell
    in_training = [f"{n}={getattr(cell, n)}" for n in ("dropout", "recurrent_dropout")
                   if getattr(cell, n)]  # fmt: skip
    rules = [
        f"{part}_{rule}"
        for part in ("kernel", "recurrent", "bias")
        for rule in ("regularizer", "constraint")
        if getattr(cell, f"{part}_{rule}", None) is not None
    ]
    if getattr(layer, "activity_regularizer", None) is not None:
        rules.append("activity_regularizer")
    if in_training or rules:
        _warn(
            f"{layer.name!r} has {', '.join([*in_training, *rules])}, which is not carried over; "
            "predictions are the same, training is not"
        )
    if layer.stateful:
        _warn(
            f"{layer.name!r} is stateful: it begins where the call before ended. A layer of ours "
            "begins at zero; hand its state on: y, state = layer(x, state)"
        )
    if cell.compute_dtype != cell.variable_dtype:
        _warn(
            f"{layer.name!r} computes in {cell.compute_dtype} with weights of "
            f"{cell.variable_dtype}; the layer of ours computes in {cell.variable_dtype}"
        )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # where from_keras is called
