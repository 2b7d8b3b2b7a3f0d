"""Resets in a layer: where episodes begin inside the sequences of one call.

A reset before step t is a boundary between the steps t - 1 and t. Forward in time the state
returns to its initial value after step t - 1, backward in time after step t. Past a sequence's
length there is no boundary, and backward in time none before the first step: a final state is
the one after the last step that was run, never a reset one.

Legend: T steps, B sequences, n the size of a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gatework.compiler.resets import ResetTo

States = Sequence[tuple[Tensor | None, ...]]
"""The states of each layer and direction, [B, n] each; None for zero."""
GivenStates = list[tuple[Tensor, ...]]
"""The same, all of them given."""


@dataclass(frozen=True, eq=False)
class Resets:
    """Where episodes end, and what the state returns to there.

    Attributes:
        begins: Whether a step begins an episode, [T, B].
        ends: Forward and backward in time: 1 where an episode ends with a step, else 0, [T, B, 1].
        initial: What the state returns to; None for zero.
    """

    begins: Tensor
    ends: tuple[Tensor, Tensor]
    initial: GivenStates | None

    @classmethod
    def of(cls, begins: Tensor, dtype: torch.dtype, initial: GivenStates | None) -> Resets:
        """From the steps that begin an episode, [T, B]: the first and the last end nothing."""
        steps, batch = begins.shape
        between = begins.new_zeros((steps + 1, batch, 1), dtype=dtype)
        between[1:steps, :, 0] = begins[1:]
        return cls(begins, (between[1:], between[:-1]), initial)

    @property
    def to(self) -> ResetTo:
        """What the state returns to: see `gatework.compiler.resets`."""
        return "zero" if self.initial is None else "state"

    def carried(self, states: GivenStates) -> GivenStates:
        """The states before the first step, each followed by what it returns to."""
        if self.initial is None:
            return states
        return [(*s, *i) for s, i in zip(states, self.initial, strict=True)]

    def begun(self, states: GivenStates, directions: int) -> GivenStates:
        """The states before the first step, returned to the initial value where that is a reset.

        Backward in time the first step comes last, and nothing comes after it.
        """
        first = self.begins[0].unsqueeze(-1)  # [B, 1]
        zeros = [tuple(s.new_zeros(()) for s in states[0])] * len(states)
        pairs = [
            list(zip(i, s, strict=True)) for i, s in zip(self.initial or zeros, states, strict=True)
        ]
        return [
            states[k] if k % directions else tuple(torch.where(first, i, s) for i, s in pairs[k])
            for k in range(len(states))
        ]
