"""What a cell draws in training mode, by torch's generator: random rows, and dropped weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gatework.lang.definition import Cell, Noise, WeightDrop
from gatework.nn.precision import widened


def draw_noise(noise: Noise, x: Tensor, sizes: Mapping[str, int]) -> Tensor:
    """A random row of zeros and ones for each step, or for each sequence, of an input [T, B, I]."""
    units = sizes[noise.symbol.size]
    shape = (x.shape[1], units) if noise.symbol.role == "constant" else (*x.shape[:2], units)
    fine = widened(x.new_empty(0)).dtype  # 16 bits have too few numbers between 0 and 1
    drawn = torch.rand(shape, dtype=fine, device=x.device) < noise.probability
    return drawn.to(x.dtype)


def drop_weights(
    cell: Cell, parameters: Sequence[Tensor], sizes: Mapping[str, int]
) -> list[Tensor]:
    """A cell's parameters, in its order, with the weights that it drops dropped out."""
    tensors = dict(zip((p.name for p in cell.parameters), parameters, strict=True))
    stacks = {p.name: p for p in cell.parameters}
    for drop in cell.weight_drops:
        stack = stacks.get(drop.parameter)  # a pinned cell may not read it any more
        if stack is not None:
            weight = tensors[stack.name]
            tensors[stack.name] = _dropped(weight, stack.spans(sizes), drop)
    return list(tensors.values())


def _dropped(weight: Tensor, spans: Mapping[str, slice], drop: WeightDrop) -> Tensor:
    """A stacked weight [rows of all blocks, cols], dropped out where it should be."""
    if set(drop.blocks) >= set(spans):
        return nn.functional.dropout(weight, drop.probability)
    parts = (
        nn.functional.dropout(weight[rows], drop.probability) if b in drop.blocks else weight[rows]
        for b, rows in spans.items()
    )
    return torch.cat(tuple(parts))
