"""What a backend is given and what it gives back, for any plan.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gatework.compiler.plan import Plan


class Call(NamedTuple):
    """The tensors of one run of a plan. All have one dtype and one device.

    Attributes:
        shape: T and B.
        sizes: The number of units of each size, by the size's name.
        sequences: Rows read at each step, [T, B, n].
        constants: Rows that are the same at each step, [B, n].
        states: The initial states in the recurrence's order, [B, n].
        parameters: The learned tensors by name.
        lengths: How many steps each sequence has, int64 [B]; None when all have T.
        reverse: Run from the last step to the first.
        skip: Names of outputs and parameters' gradients that are not wanted.
    """

    shape: tuple[int, int]
    sizes: Mapping[str, int]
    sequences: Mapping[str, Tensor]
    states: tuple[Tensor, ...]
    parameters: Mapping[str, Tensor]
    constants: Mapping[str, Tensor] = MappingProxyType({})
    lengths: Tensor | None = None
    reverse: bool = False
    skip: frozenset[str] = frozenset()

    def steps(self) -> range:
        """The steps in the order in which they are run."""
        return range(self.shape[0] - 1, -1, -1) if self.reverse else range(self.shape[0])

    def active(self) -> Tensor | None:
        """Which steps belong to their sequence, [T, B, 1]; None when all do."""
        if self.lengths is None:
            return None
        times = torch.arange(self.shape[0], device=self.lengths.device)
        return (times[:, None] < self.lengths)[:, :, None]


class Result(NamedTuple):
    """What a run of a plan gives.

    Attributes:
        outputs: The written sequences by name, [T, B, n]; zero past a sequence's length.
        states: The final states, [B, n]; of each sequence after its own last step.
        gradients: The gradients of learned tensors by name, of a backward plan.
    """

    outputs: dict[str, Tensor]
    states: tuple[Tensor, ...]
    gradients: dict[str, Tensor]


class Stepper(Protocol):
    """A forward plan run step by step, its states held in between."""

    state: tuple[Tensor, ...]
    """The states [B, n], in memory of their own; assigned to set them."""

    def step(self, x: Any) -> Any:
        """The output [B, n] for one input [B, I], a tensor or an array; the memory is reused."""

    def reset(self) -> None:
        """Set every state to zero."""


class Backend(Protocol):
    """From a plan to its results, nothing else."""

    name: str
    recorded: bool
    """Whether torch's autograd follows a run; else the derived backward plan is run."""

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Why the backend cannot run this call, or None when it can."""

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan on tensors."""

    def stepper(self, plan: Plan, call: Call) -> Stepper:
        """Prepare to run a forward plan step by step, from a call of one step."""
