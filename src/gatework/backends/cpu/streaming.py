"""One step at a time: everything is made once, a step only computes.

The weights are packed when the stream is made, so later changes of the weights do not reach it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from gatework.backends.calls import Call, given
from gatework.backends.cpu.backend import Cpu
from gatework.backends.cpu.preparation import Preparation
from gatework.backends.cpu.reading import readable
from gatework.backends.cpu.setting import HEADER
from gatework.compiler.plan import Plan

TICKET, BARRIER, PHASE = (HEADER[n] for n in ("ticket", "barrier", "phase"))

Row = TypeVar("Row", Tensor, "np.ndarray[tuple[int, ...], np.dtype[np.floating]]")


class Stream:
    """A forward plan run step by step, its states held in between.

    Args:
        backend: The backend that compiles it.
        plan: A forward plan that reads one sequence and writes one, without noise.
        call: A call of it, for the sizes, the number of sequences, and the weights: a copy of them.
    """

    def __init__(self, backend: Cpu, plan: Plan, call: Call) -> None:
        recurrence, sizes, batch = plan.recurrence, call.sizes, call.shape[1]
        if len(recurrence.sequences) != 1 or recurrence.constants or len(plan.written) != 1:
            raise ValueError(
                f"a stream needs a plan that reads and writes one sequence, without noise; "
                f"{recurrence.name} reads {[s.name for s in recurrence.sequences]} and "
                f"{[s.name for s in recurrence.constants]}, and writes {list(plan.written)}"
            )
        if batch < 1:
            raise ValueError(f"batch should be at least 1, got {batch}")
        (x,) = recurrence.sequences
        inputs = torch.zeros(1, batch, sizes[x.size], dtype=call.like.dtype, device="cpu")
        zero = (None for _ in recurrence.states)
        # matrices are packed at once; vectors are read at each step, so these are copied
        parameters = given(plan, call).parameters.items()
        given_weights = (readable(w, f"parameter {n}") for n, w in parameters)
        weights = [w.clone() if w.dim() == 1 else w for w in given_weights]
        call = Call((1, batch), sizes, (inputs, *zero, *weights))
        with torch.no_grad():
            invocation = backend.invocation(plan, call, threads=1, lasting=True)
            self._prepared = Preparation(invocation, call)
            self._prepared.own_workspace()
        self._function = invocation.kernel.function
        self._weights = [w for w in weights if w.dim() == 1]
        self._phase = 0  # which slot of a state in two slots holds it
        self._block, self._address = self._prepared.block, self._prepared.address()
        outputs: Tensor = self._prepared.result().outputs[0]
        self._input, self._output = inputs[0], outputs[0]
        self._arrays = self._input.numpy(), self._output.numpy()
        self._run()  # packs the weights
        self._block[HEADER["packed"]] = 1
        self._block[HEADER["carried"]] = 1
        self.reset()

    def _run(self) -> None:
        block = self._block
        block[TICKET] = block[BARRIER] = 0
        block[PHASE] = self._phase
        self._function(self._address)
        self._phase ^= 1

    def step(self, x: Row) -> Row:
        """The output [B, n] for one input [B, I] of the parameters' dtype.

        The result is the same memory at every step: copy it to keep it. The caller has checked
        the shape and the dtype.
        """
        if isinstance(x, np.ndarray):  # asked first: a tensor's type is slow to recognise
            self._arrays[0][:] = x
            self._run()
            return self._arrays[1]
        self._input.copy_(x.detach() if x.requires_grad else x)
        self._run()
        return self._output

    @property
    def state(self) -> tuple[Tensor, ...]:
        """The states [B, n], in memory of their own; assign to set them."""
        return tuple(s.clone() for s in self._slots())

    @state.setter
    def state(self, values: tuple[Tensor, ...]) -> None:
        for slot, value in zip(self._slots(), values, strict=True):
            slot.copy_(value.detach())

    def reset(self) -> None:
        """Set every state to zero."""
        for slot in self._slots():
            slot.zero_()

    def _slots(self) -> list[Tensor]:
        """Where each state lies now."""
        return [s if s.dim() == 2 else s[self._phase] for s in self._prepared.slots()]
