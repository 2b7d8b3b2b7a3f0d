"""Sequences with steps that do not count: padding in front, gaps.

Legend: T steps, B sequences, n features.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatework.nn import checks


class Compacted(NamedTuple):
    """Sequences whose steps that count stand at the beginning. Made by `compacted`.

    Attributes:
        input: The sequences, in the layout in which they came.
        lengths: How many steps of each count, [B].
        mask: Which steps count, [T, B].
        batch_first: Whether the layout is [B, T, …].
    """

    input: Tensor
    lengths: Tensor
    mask: Tensor
    batch_first: bool

    def restored(self, rows: Tensor, repeat: bool = False) -> Tensor:
        """Rows of the compacted sequences, such as outputs or traced values, at their own steps.

        Args:
            rows: In the layout of the input.
            repeat: Whether a step that does not count has the row of the step before, as in a layer
                of Keras; else zero, as in its Bidirectional. Before the first step that counts it
                is zero.

        Example:
            >>> import torch, gatework as gw
            >>> x, mask = torch.randn(4, 1, 3), torch.tensor([[False], [True], [False], [True]])
            >>> packed = gw.nn.compacted(x, mask)
            >>> y, h = gw.nn.GRU(3, 5)(packed.input, lengths=packed.lengths)
            >>> y = packed.restored(y, repeat=True)
            >>> bool((y[0] == 0).all()), torch.equal(y[1], y[2]), torch.equal(y[3], h[0])
            (True, True, True)
        """
        rows = _time_first(rows, self.mask, self.batch_first)
        last = self.mask.cumsum(0) - 1  # the place of the last step that counts; -1 for none
        there = last >= 0 if repeat else self.mask
        found = torch.where(there[..., None], _taken(rows, last.clamp(min=0)), rows.new_zeros(()))
        return _as_given(found, self.input.dim() == 2, self.batch_first)


def compacted(input: Tensor, mask: Any, batch_first: bool = False) -> Compacted:
    """Move the steps that count to the beginning of each sequence, for a call with `lengths=`.

    A step that does not count, because it is padding in front or a gap, leaves every state alone:
    so a layer that never sees it gives the same. This holds for every cell, for several layers and
    for both directions.

    Args:
        input: [T, B, n], [B, T, n] with `batch_first`, or [T, n] for one sequence.
        mask: Booleans in the same layout without the features: whether a step counts.
        batch_first: Whether the batch is the first axis; give it as the layer has it.

    Raises:
        TypeError: If the mask is not boolean.
        ValueError: If it has not one boolean for each step of each sequence.

    Example:
        >>> import torch, gatework as gw
        >>> x = torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 3.0, 4.0, 5.0]])[..., None]
        >>> packed = gw.nn.compacted(x, x[..., 0] != 0, batch_first=True)
        >>> packed.input[..., 0].tolist(), packed.lengths.tolist()
        ([[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 5.0, 0.0]], [2, 3])
    """
    checks.check_input("compacted", input, (2, 3))
    flags = checks.check_mask(mask, tuple(input.shape[:-1])).to(input.device)
    alone = input.dim() == 2
    if alone:
        flags = flags[:, None]
    elif batch_first:
        flags = flags.transpose(0, 1)
    order = flags.long().argsort(dim=0, descending=True, stable=True)
    moved = _taken(_time_first(input, flags, batch_first), order)
    return Compacted(_as_given(moved, alone, batch_first), flags.sum(0), flags, batch_first)


def _taken(rows: Tensor, places: Tensor) -> Tensor:
    """The rows [T, B, n] at places [T, B]."""
    return rows.gather(0, places[..., None].expand(*places.shape, rows.shape[-1]))


def _time_first(rows: Tensor, mask: Tensor, batch_first: bool) -> Tensor:
    """Rows in the layout of the input as [T, B, n]; raise unless they fit the mask [T, B]."""
    given = rows[:, None] if rows.dim() == 2 else rows.transpose(0, 1) if batch_first else rows
    if given.shape[:-1] != mask.shape:
        raise ValueError(
            f"the rows should have the {mask.shape[0]} steps and {mask.shape[1]} sequences of the "
            f"mask, got the shape {list(rows.shape)}; is batch_first right?"
        )
    return given


def _as_given(rows: Tensor, alone: bool, batch_first: bool) -> Tensor:
    if alone:
        return rows[:, 0]
    return rows.transpose(0, 1) if batch_first else rows
