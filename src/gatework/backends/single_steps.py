"""A forward plan run step by step: a call of one step over memory that stays where it is.

On CUDA the launches of a step are recorded once, as a graph that each step replays: one by one they
take the CPU longer than the card. What cannot be recorded is launched one by one all the same.

Legend: B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatework.backends.calls import Call, given
from gatework.compiler.plan import Plan

if TYPE_CHECKING:
    from gatework.backends.calls import Backend

Work = Callable[[], None]


def as_cuda_graph(work: Work, device: torch.device) -> Work:
    """Record what is launched by a function: the replay of it."""
    with torch.cuda.device(device):
        now, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(now)
        with torch.cuda.stream(aside):
            work()  # what is compiled, loaded or reserved the first time must not be recorded
        now.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    return graph.replay


RECORDERS: dict[str, Callable[[Work, torch.device], Work]] = {"cuda": as_cuda_graph}
"""What records the work of a step, by the kind of device; elsewhere it is done anew each time."""


class SingleSteps:
    """A plan run step by step. See `gatework.backends.calls.Stepper`.

    Args:
        backend: What runs the call of a step.
        plan: A forward plan that writes one sequence.
        call: A call of one step, for the sizes, the memory that each step reads, and the weights,
            which are read where they lie.
    """

    def __init__(self, backend: Backend, plan: Plan, call: Call) -> None:
        known = given(plan, call)
        (written,) = plan.recurrence.outputs.values()
        self.input = call.like[0]
        self.output = self.input.new_zeros((call.shape[1], call.sizes[written.size]))
        self._held = tuple(torch.zeros_like(s) for s in known.states)
        rows = (*known.sequences.values(), *known.constants.values())
        tensors = (*rows, *self._held, *known.parameters.values())
        self._backend, self._plan, self._call = backend, plan, call._replace(tensors=tensors)
        self._step, self.about = self._recorded()
        self.reset()

    def _recorded(self) -> tuple[Work, str]:
        """The work of a step, recorded where it can be, and how that is done in a few words."""
        device = self.input.device
        if device.type not in RECORDERS:
            return self._work, ""
        try:
            with torch.no_grad():
                return RECORDERS[device.type](self._work, device), "as a graph of launches"
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            return self._work, f"launch by launch, since no graph can be made: {reason}"

    def _work(self) -> None:
        result = self._backend.run(self._plan, self._call)
        for held, new in zip(self._held, result.states, strict=True):
            held.copy_(new)
        self.output.copy_(result.outputs[0][0])

    @torch.no_grad()
    def step(self) -> None:
        """Run one step."""
        self._step()

    @property
    def state(self) -> tuple[Tensor, ...]:
        """The states [B, n], in memory of their own; assign to set them."""
        return tuple(s.clone() for s in self._held)

    @state.setter
    def state(self, values: tuple[Tensor, ...]) -> None:
        for held, value in zip(self._held, values, strict=True):
            held.copy_(value.detach())

    def reset(self) -> None:
        """Set every state to zero."""
        for held in self._held:
            held.zero_()
