"""Resets in a layer: where episodes begin inside the sequences of one call.

A reset before step t is a boundary between the steps t - 1 and t. Forward in time the state
returns to its initial value after step t - 1, backward in time after step t. Past a sequence's
length there is no boundary, and backward in time none before the first step: a final state is
the one after the last step that was run, never a reset one.

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

    def begun(self, states: States, directions: int) -> States:
        """The states before the first step, each followed by what it returns to.

        They are returned to it themselves where the first step begins an episode. Backward in time
        that step comes last, and nothing comes after it.
        """
        zeros = [tuple(torch.zeros_like(s) for s in states[0])] * len(states)
        initial = self.initial or zeros
        return [
            (*(s if k % directions else self._first(s, i)), *(i if self.initial else ()))
            for k, (s, i) in enumerate(zip(states, initial, strict=True))
        ]

    def _first(self, states: tuple[Tensor, ...], initial: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pairs = zip(states, initial, strict=True)
        return tuple(torch.where(self.first, value, state) for state, value in pairs)
