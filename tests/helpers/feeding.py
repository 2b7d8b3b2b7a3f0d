"""Layers that feed themselves: further inputs follow from the input, so `layer(x)` runs any cell.

What is read at each step is a function of that step's input alone, what is read once for a sequence
is the same for all sequences. So a part of a batch, of a sequence or of its steps has the further
inputs that it has in the whole, and what holds for every cell can be tested without knowing them.

    layer = recurrent(cell, 8, 4)
    y, state = layer(x)

Legend: n the size of an input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import gatework as gw
from gatework.lang import Cell


def fed(cell: Cell, sizes: Mapping[str, int], x: Tensor, batched: bool) -> dict[str, Tensor]:
    """The further inputs of a cell for an input [.., B, I], or [.., I]."""
    found = {}
    for k, row in enumerate(cell.further):
        n = math.prod([sizes[axis] for axis in row.size.split(",")])
        if row.role == "sequence":
            units = torch.arange(n, device=x.device) + 3 * k
            values = (1.5 * x.double()[..., units % x.shape[-1]] + 0.3 * k).sin() + 1.1
        else:
            outer = x.shape[-2:-1] if batched else ()
            values = torch.linspace(-1, 2, n, dtype=torch.float64, device=x.device)
            values = values.expand(*outer, n)
        found[row.name] = _rounded(values).to(x.dtype)
    return found


def _rounded(values: Tensor) -> Tensor:
    """Values that every precision has; their derivative is not rounded."""
    return values + (values.bfloat16() - values).detach()


class FedLayer(gw.nn.Recurrent):
    """A layer whose calls are given the further inputs."""

    def forward(self, input: Tensor, hx: Any = None, **options: Any) -> Any:
        return super().forward(input, hx, **options, **self.fed(input))

    def trace(self, input: Tensor, hx: Any = None, **options: Any) -> Any:
        return super().trace(input, hx, **options, **self.fed(input))

    def stream(self, batch_size: int = 1) -> Any:
        return FedStream(self, batch_size)

    def fed(self, x: Tensor) -> dict[str, Tensor]:
        """What a call is given with this input."""
        assert not self.batch_first
        return fed(self.cell, self.sizes(0), x, x.dim() == 3)


class FedStream:
    """A stream whose steps are given them."""

    def __init__(self, layer: FedLayer, batch_size: int) -> None:
        x = torch.zeros(batch_size, layer.input_size, dtype=next(layer.parameters()).dtype)
        self._layer = layer
        given = self._of("constant", x)
        self._stream = gw.nn.Recurrent.stream(layer, batch_size, **given)

    def _of(self, role: str, x: Tensor) -> dict[str, Tensor]:
        names = [s.name for s in self._layer.cell.further if s.role == role]
        rows = fed(self._layer.cell, self._layer.sizes(0), x, x.dim() == 2)
        return {n: rows[n] for n in names}

    def step(self, x: Tensor) -> Tensor:
        return self._stream.step(x, **self._of("sequence", x))

    def reset(self, which: Any = None) -> None:
        self._stream.reset(which)

    @property
    def state(self) -> Any:
        return self._stream.state


class FedStep(gw.nn.RecurrentCell):
    """A single step that is given them."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        sizes = self._first_sizes()
        return super().forward(input, hx, **fed(self.cell, sizes, input, input.dim() == 2))


def recurrent(cell: Cell, *args: Any, **options: Any) -> gw.nn.Recurrent:
    """A layer of any cell that can be called with an input alone."""
    made = FedLayer if cell.further else gw.nn.Recurrent
    return made(cell, *args, **options)


def recurrent_cell(cell: Cell, *args: Any, **options: Any) -> gw.nn.RecurrentCell:
    """A single step of any cell, likewise."""
    made = FedStep if cell.further else gw.nn.RecurrentCell
    return made(cell, *args, **options)
