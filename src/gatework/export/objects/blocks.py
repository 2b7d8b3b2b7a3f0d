"""What is exported, as a row of blocks: the parts of a network, each a recurrence and its numbers.

A linear layer is a recurrence without states, so that what writes code knows one thing only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatework.compiler.recurrence import Recurrence, of_cell
from gatework.errors import InputError
from gatework.export.objects.parts import Joined, Part, Pooled, parts_of
from gatework.lang import words
from gatework.lang.definition import Parameter
from gatework.lang.expressions import Expr, Matrix, product, symbol
from gatework.lang.sizes import Sizes
from gatework.nn import Recurrent
from gatework.nn.accelerate import accelerate
from gatework.nn.beginning import filled_states, own_initial
from gatework.nn.parameters import own_parameters

WORDS = {
    nn.Tanh: words.tanh,
    nn.ReLU: words.relu,
    nn.Sigmoid: words.sigmoid,
    nn.SiLU: words.silu,
    nn.Softsign: words.softsign,
}


@dataclass(frozen=True, eq=False)
class Block:
    """One part: what it computes at each step, its parameters by name, its states at the start."""

    recurrence: Recurrence
    sizes: Mapping[str, int]
    parameters: Mapping[str, Tensor]
    initial: tuple[Tensor, ...] = ()

    @property
    def units(self) -> int:
        """How many numbers it gives."""
        (output,) = self.recurrence.outputs.values()
        return self.sizes[output.size]

    @property
    def reads(self) -> int:
        """How many numbers it reads at each step from the block before it."""
        return self.sizes[self.recurrence.sequences[0].size]


@dataclass(frozen=True, eq=False)
class Network:
    """The blocks of a model, the first one first.

    Attributes:
        table: The rows of an embedding that stands before them; None where steps are numbers.
        blocks: The blocks.
    """

    table: Tensor | None
    blocks: Sequence[Block]


def network_of(model: nn.Module) -> Network:
    """A model as blocks.

    Raises:
        InputError: If it has a part that cannot be exported.

    Example:
        >>> import torch, gatework as gw
        >>> model = torch.nn.Sequential(gw.nn.LSTM(1, 8, num_layers=2), torch.nn.Linear(8, 1))
        >>> len(network_of(model).blocks)
        3
    """
    table, parts = None, parts_of(model)
    if isinstance(parts[0], nn.Embedding):
        table, parts = _table(parts[0]), parts[1:]
    units = table.shape[1] if table is not None else _width(parts)
    blocks: list[Block] = []
    for part in parts:
        blocks += _blocks(part, units)
        units = blocks[-1].units
    if not blocks:
        raise InputError("an embedding alone", "layers that read it", "write its rows yourself")
    _check_sizes(blocks, None if table is None else table.shape[1])
    return Network(table, blocks)


def _width(parts: Sequence[Part]) -> int:
    """How many numbers a step has, told by the first part that knows it."""
    for part in parts:
        units = getattr(part, "input_size", getattr(part, "in_features", None))
        if units is not None:
            return int(units)
    raise InputError("functions alone", "layers that they belong to", "add the layers")


def _check_sizes(blocks: Sequence[Block], units: int | None) -> None:
    """Each block reads as many numbers as the one before it gives."""
    for block in blocks:
        if units is not None and block.reads != units:
            raise InputError(
                f"a part that reads {block.reads} numbers behind one that gives {units}",
                "parts that fit one another",
                "correct the sizes",
            )
        units = block.units


def _table(embedding: nn.Embedding) -> Tensor:
    """The rows of an embedding as it gives them, shortened where it has a `max_norm`."""
    with torch.no_grad():
        every = torch.arange(embedding.num_embeddings)
        return _plain(copy.deepcopy(embedding).cpu()(every))


def _blocks(part: Part, units: int) -> Iterator[Block]:
    """The blocks of a part that reads so many units."""
    if isinstance(part, Pooled):
        yield _pooled(part)
    elif isinstance(part, Joined):
        yield _linear(part.linear, part.static)
    elif isinstance(part, nn.Linear):
        yield _linear(part)
    elif isinstance(part, Recurrent):
        yield from _layers(part)
    elif isinstance(part, nn.RNNBase):
        accelerated: Any = accelerate(copy.deepcopy(part))
        yield from _layers(accelerated)
    elif isinstance(part, nn.Embedding):
        raise InputError(
            "an embedding that other parts stand before",
            "an embedding at the beginning",
            "export the network that stands behind it, and give it the rows",
        )
    else:
        yield _activation(part, units)


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


# ---- parts that are not recurrent --------------------------------------------------------------


def _linear(layer: nn.Linear, static: int = 0) -> Block:
    """A matrix on the numbers of a step and one on those of the whole sequence, and a bias."""
    inputs = layer.in_features - static
    x, whole = symbol("x", "sequence", "input"), symbol("static", "constant", "static")
    y: Expr = product(Matrix("y", "y", "hidden", "input"), x)
    parameters = [Parameter("weight_y", ("y",), ("hidden",), "input")]
    weight = _plain(layer.weight)
    tensors = {"weight_y": weight[:, :inputs].contiguous()}
    if static:
        y = y + product(Matrix("static", "static", "hidden", "static"), whole)
        parameters.append(Parameter("weight_static", ("static",), ("hidden",), "static"))
        tensors["weight_static"] = weight[:, inputs:].contiguous()
    if layer.bias is not None:
        y = y + symbol("bias", "parameter", "hidden")
        parameters.append(Parameter("bias", ("bias",), ("hidden",)))
        tensors["bias"] = _plain(layer.bias)
    constants = (whole,) if static else ()
    step = Recurrence((x,), constants, (), (), {"y": y}, tuple(parameters))
    sizes = {"1": 1, "input": inputs, "hidden": layer.out_features, "static": static}
    return Block(step, Sizes.of(sizes), tensors)


def _activation(part: nn.Module, units: int) -> Block:
    """A function of each number."""
    x = symbol("x", "sequence", "hidden")
    step = Recurrence((x,), (), (), (), {"y": WORDS[type(part)](x)}, ())
    return Block(step, Sizes.of({"1": 1, "hidden": units}), {})


def _pooled(part: Pooled) -> Block:
    """The mean or the maximum of all steps so far."""
    x, so_far = symbol("x", "sequence", "hidden"), symbol("so_far", "state", "hidden")
    sizes = Sizes.of({"1": 1, "hidden": part.units})
    if part.kind == "max":
        most = words.maximum(x, so_far)
        step = Recurrence((x,), (), (so_far,), (most,), {"y": most}, ())
        return Block(step, sizes, {}, (torch.full((1, part.units), -torch.inf),))
    steps = symbol("steps", "state", "1")
    new = (so_far + x, steps + 1)
    step = Recurrence((x,), (), (so_far, steps), new, {"y": new[0] / new[1]}, ())
    return Block(step, sizes, {}, (torch.zeros(1, part.units), torch.zeros(1, 1)))


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().float()
