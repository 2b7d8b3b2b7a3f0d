"""One step at a time: everything is made once, a step only computes.

The weights are packed when the stream is made, so later changes of the weights do not reach it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatework.backends.calls import Call, given
from gatework.backends.cpu.kernel.setting import HEADER
from gatework.backends.cpu.preparation import Preparation
from gatework.backends.gate import is_freed
from gatework.backends.reading import readable
from gatework.compiler.plan import Plan

if TYPE_CHECKING:
    from gatework.backends.cpu.backend import Cpu

TICKET, BARRIER, PHASE = (HEADER[n] for n in ("ticket", "barrier", "phase"))


class Stream:
    """A forward plan run step by step, its states held in between.

    Args:
        backend: The backend that compiles it.
        plan: A forward plan that writes one sequence, without noise.
        call: A call of one step, for the sizes, the memory that each step reads, and the weights,
            of which it makes a copy.

    Attributes:
        input: The memory [B, I] that a step reads; `output` [B, n] the memory that it writes.
    """

    def __init__(self, backend: Cpu, plan: Plan, call: Call) -> None:
        recurrence, batch = plan.recurrence, call.shape[1]
        read = {*recurrence.sequences, *recurrence.constants}
        if read != {*recurrence.inputs} or len(recurrence.outputs) != 1:
            raise ValueError(
                f"a stream needs a plan that reads inputs and writes one sequence, without noise; "
                f"this one reads {[s.name for s in recurrence.sequences]} and "
                f"{[s.name for s in recurrence.constants]}, and writes {list(recurrence.outputs)}"
            )
        if batch < 1:
            raise ValueError(f"batch should be at least 1, got {batch}")
        zero = (None for _ in recurrence.states)
        # matrices are packed at once; vectors are read at each step, so these are copied
        tensors = given(plan, call)
        parameters = tensors.parameters.items()
        given_weights = (readable(w, f"parameter {n}") for n, w in parameters)
        weights = [w.clone() if w.dim() == 1 else w for w in given_weights]
        rows = (*tensors.sequences.values(), *tensors.constants.values())
        call = Call((1, batch), call.sizes, (*rows, *zero, *weights))
        with torch.no_grad():
            invocation = backend.invocation(plan, call, threads=1, lasting=True)
            self._prepared = Preparation(invocation, call)
            self._prepared.own_workspace()
        self._function = invocation.kernel.function
        self._read = [*rows, *(w for w in weights if w.dim() == 1)]  # where it lies
        self._phase = 0  # which slot of a state in two slots holds it
        self._block, self._address = self._prepared.block, self._prepared.address()
        self.about = ""
        self.input: Tensor = call.like[0]
        self.output: Tensor = self._prepared.result().outputs[0][0]
        self.step()  # packs the weights
        self._block[HEADER["packed"]] = 1
        self._block[HEADER["carried"]] = 1
        self.reset()

    def step(self) -> None:
        """Run one step."""
        block = self._block
        block[TICKET] = block[BARRIER] = 0
        block[PHASE] = self._phase
        self._function(self._address)
        self._phase ^= 1

    @property
    def state(self) -> tuple[Tensor, ...]:
        """The states [B, n], in memory of their own; assign to set them."""
        return tuple(s.clone() for s in self._slots())

    @state.setter
    def state(self, values: tuple[Tensor, ...]) -> None:
        for slot, value in zip(self._slots(), values, strict=True):
            if is_freed(value):
                raise ValueError("the state has no memory: its storage was freed")
            slot.copy_(value.detach())

    def reset(self) -> None:
        """Set every state to zero."""
        for slot in self._slots():
            slot.zero_()

    def _slots(self) -> list[Tensor]:
        """Where each state lies now."""
        return [s if s.dim() == 2 else s[self._phase] for s in self._prepared.slots()]
