"""What every contestant is given: a layer's weights, an input, an output's gradient.

Legend: B sequences, T steps, I input features, H hidden units, n the size of the output.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gatework.bench.shapes import Shape
from gatework.cells import catalogue
from gatework.errors import InputError
from gatework.lang.definition import Cell
from gatework.nn import Recurrent

__all__ = ["KINDS", "Kind", "Named", "Problem", "make_problem"]

Kind = Literal["inference", "training", "streaming"]
KINDS: tuple[Kind, ...] = ("inference", "training", "streaming")
Named = dict[str, Tensor]
"""Results by name: "output", "gradient of input", "gradient of weight_ih", …"""

STREAMED_STEPS = 16
"""Steps of a stream that are checked before one step is timed."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One cell at one shape.

    Attributes:
        cell: What is run.
        shape: The sizes.
        layer: Our layer; its weights are everyone's.
        x: The input, [T, B, I].
        dy: The gradient of the output, [T, B, n].
    """

    cell: Cell
    shape: Shape
    layer: Recurrent
    x: Tensor
    dy: Tensor

    @property
    def listed(self) -> str:
        """The cell's name in the catalogue, by which others know it; "" of any other cell."""
        name = self.cell.name
        return name if catalogue().get(name) is self.cell else ""

    def weights(self) -> Named:
        """The parameters by the cell's own names."""
        return {n.removesuffix("_l0"): p for n, p in self.layer.named_parameters()}

    def gradients(self, y: Tensor, sources: list[Tensor] | None = None) -> tuple[Tensor, ...]:
        """The gradients of the input and of every parameter, or of other tensors."""
        return torch.autograd.grad(
            y, sources or [self.x, *self.layer.parameters()], self.dy, materialize_grads=True
        )

    def named(self, gradients: tuple[Tensor, ...]) -> Named:
        """Such gradients by name."""
        names = ["input", *self.weights()]
        return {f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)}

    def double(self) -> Problem:
        """The same numbers in float64."""
        return Problem(
            self.cell,
            self.shape,
            copy.deepcopy(self.layer).double(),
            self.x.detach().double().requires_grad_(),
            self.dy.double(),
        )


def make_problem(cell: Cell, shape: Shape, kind: Kind) -> Problem:
    """Random float32 weights, input and gradient; the same at each call.

    Raises:
        InputError: the cell cannot have such sizes.
    """
    found = cell.deterministic()
    sizes: dict[str, Any] = found.usual_sizes(shape.units)
    generator = torch.Generator().manual_seed(0)
    try:
        layer = Recurrent(found, shape.features, shape.units, **sizes)
    except ValueError as error:
        raise InputError(
            f"{cell.name} at {shape}: {error}",
            "sizes that the cell can have",
            "give other sizes with --shapes B,T,I,H",
        ) from error
    bound = shape.units**-0.5
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-bound, bound, generator=generator)
    layer.train(kind == "training")
    steps = STREAMED_STEPS if kind == "streaming" else shape.steps
    rows = steps, shape.batch
    x = torch.randn(*rows, shape.features, generator=generator)
    dy = torch.randn(*rows, layer.output_size, generator=generator)
    return Problem(cell, shape, layer, x.requires_grad_(kind == "training"), dy)
