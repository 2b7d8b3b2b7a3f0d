"""What is exported, as a row of blocks: the layers of a network, each a recurrence and its numbers.

A linear layer is a recurrence without states, so that what writes code knows one thing only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gatework.compiler.recurrence import Recurrence, of_cell
from gatework.errors import InputError
from gatework.lang.definition import Parameter
from gatework.lang.expressions import Expr, Matrix, product, symbol
from gatework.lang.sizes import Sizes
from gatework.nn import Recurrent
from gatework.nn.beginning import filled_states, own_initial
from gatework.nn.parameters import own_parameters

TAKEN = "a layer of gatework.nn, or a torch.nn.Sequential of such layers and torch.nn.Linear"


@dataclass(frozen=True, eq=False)
class Block:
    """One layer: what it computes at each step, its parameters by name, its states at the start."""

    recurrence: Recurrence
    sizes: Mapping[str, int]
    parameters: Mapping[str, Tensor]
    initial: tuple[Tensor, ...] = ()


def blocks_of(model: nn.Module) -> list[Block]:
    """The blocks of a layer or of a sequence of layers, the first one first.

    Raises:
        InputError: If it has a part that cannot be exported.

    Example:
        >>> import torch, gatework as gw
        >>> model = torch.nn.Sequential(gw.nn.LSTM(1, 8, num_layers=2), torch.nn.Linear(8, 1))
        >>> len(blocks_of(model))
        3
    """
    parts = list(model) if isinstance(model, nn.Sequential) else [model]
    found = [block for part in parts for block in _blocks(part)]
    if not found:
        raise InputError("a model with no layers", TAKEN, "give it the layers to export")
    return found


def _blocks(part: nn.Module) -> Iterator[Block]:
    if isinstance(part, nn.Linear):
        yield _linear(part)
    elif isinstance(part, Recurrent):
        yield from _layers(part)
    elif not isinstance(part, nn.Dropout | nn.Identity):  # which do nothing once trained
        raise InputError(
            f"a part that has no C form: {type(part).__name__}",
            TAKEN,
            "put the layers to be exported into a torch.nn.Sequential",
        )


def _layers(layer: Recurrent) -> Iterator[Block]:
    """Each layer of a stack."""
    if layer.bidirectional:
        raise InputError(
            "a bidirectional layer",
            "a layer of one direction: the other one begins at the end, which a step has not seen",
            "train the network with bidirectional=False",
        )
    if layer.held:
        raise InputError("a layer with held values", "a layer as it was trained", "release them")
    like = torch.zeros(0, 1, 0)
    states = filled_states(layer, own_initial(layer, like), like)
    for one, initial in zip(layer._directions(), states, strict=True):
        cell = one.jobs[False].cell
        found = zip(cell.parameters, own_parameters(layer, one.names), strict=True)
        tensors = {p.name: _plain(tensor) for p, tensor in found}
        yield Block(of_cell(cell), one.sizes, tensors, tuple(map(_plain, initial)))


def _linear(layer: nn.Linear) -> Block:
    x = symbol("x", "sequence", "input")
    y: Expr = product(Matrix("y", "y", "hidden", "input"), x)
    parameters = [Parameter("weight_y", ("y",), ("hidden",), "input")]
    tensors = {"weight_y": _plain(layer.weight)}
    if layer.bias is not None:
        y = y + symbol("bias", "parameter", "hidden")
        parameters.append(Parameter("bias", ("bias",), ("hidden",)))
        tensors["bias"] = _plain(layer.bias)
    step = Recurrence((x,), (), (), (), {"y": y}, tuple(parameters))
    sizes = Sizes.of({"1": 1, "input": layer.in_features, "hidden": layer.out_features})
    return Block(step, sizes, tensors)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().float()
