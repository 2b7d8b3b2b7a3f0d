"""One call of a kernel: its tensors, and the block of numbers and addresses it is given.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.cpu import threads
from gatework.backends.cpu.memory import workspace
from gatework.backends.cpu.setting import ALIGNMENT, HEADER

if TYPE_CHECKING:
    from gatework.backends.cpu.invocation import Invocation, Read, Written

_lock = threading.Lock()
_natural = torch.arange(4096, device="cpu")


def numbers(count: int) -> Tensor:
    """At least `count` of 0, 1, 2, …: rows in their natural order."""
    global _natural
    with _lock:
        if _natural.numel() < count:
            _natural = torch.arange(2 * count, device="cpu")
        return _natural


class Preparation:
    """The tensors of one call, and the block that the kernel is given.

    Attributes:
        block: The block of arguments.
        states: The slots of each state, [slots, B, n], or [B, n] where there is one.
        finals: The final states, [B, n].
        outputs: The written sequences.
        gradients: The gradients of parameters.
    """

    def __init__(self, invocation: Invocation, call: Call) -> None:
        self.invocation = invocation
        self.block = invocation.template[:]  # a copy
        self.alive: list[Tensor] = []  # what the kernel reads, until it is done
        if call.lengths is not None:
            self._lengths(call.lengths)
        self._read(invocation.sequences, call.sequences)
        self._read(invocation.parameters, call.parameters)
        if invocation.constants:
            self._read(invocation.constants, call.constants)
        self.states, self.finals = self._states(call.states)
        self.outputs = self._outputs()
        self.gradients = self._written(invocation.gradients)
        if not self.block[HEADER["row count"]]:
            for gradient in self.gradients.values():
                gradient.zero_()

    def _lengths(self, lengths: Tensor) -> None:
        """The order of the sequences, and the rows that are run."""
        inv = self.invocation
        if lengths.shape != (inv.batch,):
            raise ValueError(f"lengths should have shape [{inv.batch}], got {list(lengths.shape)}")
        lengths = lengths.to(torch.int64).contiguous()
        order, all_rows = inv.schedule.rows(lengths)
        given = {"lengths": lengths, "rows": order, "all rows": all_rows}
        for name, tensor in given.items():
            self.block[HEADER[name]] = tensor.data_ptr()
        self.alive += given.values()
        self.block[HEADER["row count"]] = all_rows.numel()

    def _read(self, reads: list[Read], tensors: Mapping[str, Tensor]) -> None:
        """Give the kernel what it reads. Shapes are checked: native code trusts them."""
        dtype, block, alive = self.invocation.dtype, self.block, self.alive
        for name, argument, shape in reads:
            tensor = tensors[name]
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(
                    f"{name} should be {dtype} of shape {list(shape)}, "
                    f"got {tensor.dtype} of shape {list(tensor.shape)}"
                )
            if argument is not None:
                if not tensor.is_contiguous():
                    tensor = tensor.detach().contiguous()
                block[argument] = tensor.data_ptr()
                alive.append(tensor)

    def _states(self, given: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """The slots of each state, and the final states, [B, n]."""
        invocation, block = self.invocation, self.block
        self._read(invocation.initial, dict(zip(invocation.state_names, given, strict=True)))
        slots, finals = {}, []
        for name, argument, make, final_argument, make_final in invocation.states:
            final = memory = slots[name] = make()
            block[argument] = memory.data_ptr()
            if final_argument is not None:
                final = make_final()
                block[final_argument] = final.data_ptr()
            finals.append(final)
        return slots, tuple(finals)

    def _outputs(self) -> dict[str, Tensor]:
        """The written sequences; some are a part of a state's slots."""
        steps = self.invocation.steps
        found = self._written(self.invocation.outputs)
        for name, argument, state, first in self.invocation.views:
            view = found[name] = self.states[state].narrow(0, first, steps)
            if argument is not None:
                self.block[argument] = view.data_ptr()
        return found

    def _written(self, written: list[Written]) -> dict[str, Tensor]:
        """Memory for what the kernel writes."""
        found = {}
        for name, argument, make in written:
            tensor = found[name] = make()
            if argument is not None:
                self.block[argument] = tensor.data_ptr()
        return found

    def shared_workspace(self) -> None:
        """Use the workspace of this thread, which its next call uses again."""
        self._use(workspace(self.invocation.elements, self.invocation.dtype))

    def own_workspace(self) -> None:
        """Use a workspace that nobody else uses: what is packed in it stays."""
        elements, dtype = self.invocation.elements, self.invocation.dtype
        self._use(torch.empty(elements, dtype=dtype, device="cpu"))

    def _use(self, memory: Tensor) -> None:
        """Lay out packed weights, rows between stages and scratch memory."""
        self.alive.append(memory)
        start = -(-memory.data_ptr() // ALIGNMENT) * ALIGNMENT
        for argument, offset in self.invocation.workspace:
            self.block[argument] = start + offset * self.invocation.element

    def address(self) -> int:
        """Where native code finds the block."""
        return self.block.buffer_info()[0]

    def start(self) -> None:
        """Run the kernel on all threads."""
        kernel, count = self.invocation.kernel, self.invocation.schedule.threads
        if count > 1:
            self.block[HEADER["team"]] = threads.team_size_function()
        threads.run(kernel.function, kernel.address, self.address(), count)

    def result(self) -> Result:
        """What came out, by name."""
        return Result(self.outputs, self.finals, self.gradients)
