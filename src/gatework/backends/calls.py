"""What a backend is given and what it gives back, for any plan.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gatework.compiler.plan import Plan
from gatework.lang.expressions import Role

HALVES = (torch.float16, torch.bfloat16)


class Call(NamedTuple):
    """The tensors of one run of a plan. All have one dtype and one device.

    Attributes:
        shape: T and B.
        sizes: The number of units of each size, by the size's name.
        tensors: What the recurrence reads, in the order of `Recurrence.reads`: sequences [T, B, n],
            constants [B, n], the initial states [B, n], None for zero, the parameters. By name:
            `given`.
        lengths: How many steps each sequence has, int64 [B]; None when all have T.
        reverse: Run from the last step to the first.
        skip: Names of outputs and parameters' gradients that are not wanted.
    """

    shape: tuple[int, int]
    sizes: Mapping[str, int]
    tensors: Sequence[Tensor | None]
    lengths: Tensor | None = None
    reverse: bool = False
    skip: frozenset[str] = frozenset()

    @property
    def like(self) -> Tensor:
        """A tensor of the call's dtype and device."""
        first = self.tensors[0]
        assert first is not None  # a sequence, or a state of a backward plan, which is given
        return first

    def steps(self) -> range:
        """The steps in the order in which they are run."""
        return range(self.shape[0] - 1, -1, -1) if self.reverse else range(self.shape[0])

    def active(self) -> Tensor | None:
        """Which steps belong to their sequence, [T, B, 1]; None when all do."""
        if self.lengths is None:
            return None
        times = torch.arange(self.shape[0], device=self.lengths.device)
        return (times[:, None] < self.lengths)[:, :, None]


class Given(NamedTuple):
    """The tensors of a call by name; the states in their order."""

    sequences: dict[str, Tensor]
    constants: dict[str, Tensor]
    states: tuple[Tensor, ...]
    parameters: dict[str, Tensor]


def given(plan: Plan, call: Call) -> Given:
    """What a call gives to a plan, by name."""
    recurrence = plan.recurrence
    found = dict(zip(recurrence.reads, call.tensors, strict=True))

    def named(role: Role) -> dict[str, Any]:
        return {name: tensor for (of, name), tensor in found.items() if of == role}

    units = [call.sizes[s.size] for s in recurrence.states]
    states = filled(named("state").values(), units, call.shape[1], call.like)
    return Given(named("sequence"), named("constant"), states, named("parameter"))


def filled(
    states: Iterable[Tensor | None], units: Iterable[int], batch: int, like: Tensor
) -> tuple[Tensor, ...]:
    """States [B, n] of so many units, with zeros in the place of None."""
    return tuple(
        like.new_zeros((batch, n)) if s is None else s for s, n in zip(states, units, strict=True)
    )


class Result(NamedTuple):
    """What a run of a plan gives.

    Attributes:
        outputs: The written sequences [T, B, n] in the recurrence's order, None for those that are
            skipped; zero past a sequence's length.
        states: The final states, [B, n]; of each sequence after its own last step.
        gradients: Of a backward plan the gradients of the parameters in their order, None for those
            that are skipped and where nothing depends on a parameter.
    """

    outputs: Sequence[Any]  # Tensor or None; so are the gradients
    states: tuple[Tensor, ...]
    gradients: Sequence[Any]


Picker = Callable[[Sequence[Any]], tuple[Any, ...]]


def picker(places: Sequence[int]) -> Picker:
    """A function that takes the elements at some places, in their order."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple([values[k] for k in places])


class Stepper(Protocol):
    """A forward plan run step by step, its states held in between."""

    input: Tensor
    """The memory [B, I] that a step reads: the sequence of one step that the call was given. What
    else the cell reads from outside is read where the call has it, too."""

    output: Tensor
    """The memory [B, n] that a step writes, the same at every step."""

    state: tuple[Tensor, ...]
    """The states [B, n], in memory of their own; assigned to set them."""

    about: str
    """How steps are run, in a few words; empty for the one way."""

    def step(self) -> None:
        """Run one step."""

    def reset(self) -> None:
        """Set every state to zero."""


class Backend(Protocol):
    """From a plan to its results, nothing else."""

    name: str
    recorded: bool
    """Whether torch's autograd follows a run. Else the backend runs, of each program whose forward
    plan it does not refuse, the plan that keeps values and the derived backward plan as well."""
    compiles: bool
    """Whether it makes machine code of its own for a plan; else it is a loop of torch's operations,
    or torch's kernels, which whatever records these operations can follow."""

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Why the backend cannot run this call, or None when it can."""

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan on tensors."""

    def stepper(self, plan: Plan, call: Call) -> Stepper:
        """Prepare to run a forward plan step by step, from a call of one step with its weights."""

    def takes_halves(self, device: str) -> bool:
        """Whether it runs calls of float16 and bfloat16 on a kind of device as they are.

        Sums, gates and states are float32 in it all the same. Where no backend does, layers make
        such calls float32 and round the results.
        """

    def about(self, plan: Plan, call: Call) -> str:
        """How it runs a call that it does not refuse, in a few words; nothing for the one way."""
