"""What is given as a layer's weights: arrays of whatever library and layout, or lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Weights(NamedTuple):
    """The arrays of one layer in one direction. The gates lie side by side along one axis.

    Attributes:
        input: What maps the input, [I, G·H], or [G·H, I] with the gates along axis 0.
        recurrent: What maps the state, [H, G·H], or [G·H, H].
        bias: [G·H]; or [2, G·H], the input's and the recurrent one.
        recurrent_bias: [G·H], added where the state is mapped.
    """

    input: Any
    recurrent: Any
    bias: Any = None
    recurrent_bias: Any = None


def rows_of(weights: Any, bidirectional: bool) -> list[Weights]:
    """One for each layer and direction."""
    if not isinstance(weights, Sequence):
        raise TypeError(
            "weights should be Weights, a tuple of arrays, or a list of such; got "
            f"{type(weights).__name__}"
        )
    if isinstance(weights, Weights) or (len(weights) and _dimensions(weights[0]) <= 2):
        weights = [weights]
    rows = [_row(w, place) for place, w in enumerate(weights)]
    if not rows or (bidirectional and len(rows) % 2):
        raise ValueError(
            f"expected the arrays of {'two directions' if bidirectional else 'one direction'} for "
            f"each layer, got {len(rows)}"
        )
    return [_two_biases(w) for w in rows]


def _dimensions(array: Any) -> int:
    """How many axes an array has, or lists in lists."""
    if isinstance(array, list | tuple):
        return 1 + max((_dimensions(a) for a in array[:1]), default=0)
    return int(getattr(array, "ndim", 0))


def _row(arrays: Any, place: int) -> Weights:
    if isinstance(arrays, Weights):
        return arrays
    if not isinstance(arrays, Sequence) or not 2 <= len(arrays) <= len(Weights._fields):
        count = f"{len(arrays)}" if isinstance(arrays, Sequence) else type(arrays).__name__
        raise ValueError(
            f"the weights at place {place} should be 2 to {len(Weights._fields)} arrays, "
            f"{', '.join(Weights._fields)}; got {count}"
        )
    return Weights(*arrays)


def _two_biases(weights: Weights) -> Weights:
    if weights.bias is None or _dimensions(weights.bias) != 2:
        return weights
    if weights.recurrent_bias is not None or len(weights.bias) != 2:
        raise ValueError(
            "a bias should have one dimension, or two rows, the input's and the recurrent; got "
            f"the shape {list(tensor_of('bias', weights.bias).shape)}"
        )
    return weights._replace(bias=weights.bias[0], recurrent_bias=weights.bias[1])


def tensor_of(name: str, array: Any) -> Tensor:
    """A copy of an array, of whatever order and byte order, or of a tensor, or of lists."""
    if isinstance(array, Tensor):
        tensor = array if array.layout == torch.strided else array.to_dense()
        tensor = tensor.detach().to("cpu", copy=True)
    else:
        tensor = torch.from_numpy(_plain(name, array))
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        count = int((~tensor.isfinite()).sum())
        raise ValueError(f"{count} of the {tensor.numel()} values of the {name} are not finite")
    return tensor


def _plain(name: str, array: Any) -> NDArray[Any]:
    """A copy as torch takes it: in this machine's byte order, row by row."""
    try:
        found = np.asarray(array)
        if found.dtype.name == "bfloat16":  # of ml_dtypes
            found = found.astype(np.float32)
        if found.dtype.kind not in "fiub" or found.dtype.itemsize > 8:
            raise TypeError(f"an array of {found.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {name} should be an array of floats: {error}") from None
    return np.array(found, found.dtype.newbyteorder("="), order="C")
