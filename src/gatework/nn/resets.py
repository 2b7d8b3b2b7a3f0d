"""Resets in a layer: where episodes begin inside the sequences of one call.

A reset before step t is a boundary between the steps t - 1 and t. Forward in time the state
returns to its initial value after step t - 1, backward in time after step t. Past a sequence's
length, and at the two ends of a sequence, there is no boundary: what comes in at an end is the
state that the call was given.

Legend: T steps, B sequences, n the size of a state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

States = list[tuple[Tensor, ...]]
"""The states of each layer and direction, [B, n] each."""


@dataclass(frozen=True, eq=False)
class Resets:
    """Where the state is kept, and what it returns to elsewhere.

    Attributes:
        initial: What the state returns to; None for zero.
        keep: Forward and backward in time, 1 where the next step goes on with the state after this
            one, 0 where an episode ends, [T, B, 1].
        first: Whether the first step begins an episode, [B, 1].
    """

    initial: States | None
    keep: tuple[Tensor, Tensor]
    first: Tensor

    @classmethod
    def of(cls, begins: Tensor, dtype: torch.dtype, initial: States | None) -> Resets:
        """From whether each step begins an episode, [T, B]."""
        keep = begins[1:].logical_not().to(dtype)
        end = keep.new_ones((1, keep.shape[1]))
        both = torch.cat([keep, end]), torch.cat([end, keep])
        return cls(initial, (both[0].unsqueeze(-1), both[1].unsqueeze(-1)), begins[0].unsqueeze(-1))

    @property
    def to(self) -> str:
        """What the state returns to: see `gatework.compiler.resets`."""
        return "zero" if self.initial is None else "state"

    def carried(self, states: States) -> States:
        """The states before the first step, each followed by what it returns to."""
        if self.initial is None:
            return states
        return [(*s, *i) for s, i in zip(states, self.initial, strict=True)]

    def begun(self, states: States, directions: int) -> States:
        """The states before the first step, returned to the initial value where that is a reset.

        Backward in time the first step comes last, and nothing comes after it.
        """
        zeros = [tuple(torch.zeros_like(s) for s in states[0])] * len(states)
        return [
            s if k % directions else self._first(s, i)
            for k, (s, i) in enumerate(zip(states, self.initial or zeros, strict=True))
        ]

    def _first(self, states: tuple[Tensor, ...], initial: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pairs = zip(states, initial, strict=True)
        return tuple(torch.where(self.first, value, state) for state, value in pairs)
