"""One call of a kernel: its tensors, and the block of numbers and addresses it is given.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.cpu.kernel.setting import ALIGNMENT, HEADER
from gatework.backends.cpu.machine import threads
from gatework.backends.cpu.machine.memory import workspace
from gatework.backends.gate import LOW
from gatework.backends.reading import address, readable
from gatework.forking import brief_lock

if TYPE_CHECKING:
    from gatework.backends.cpu.invocation import Invocation

_lock = brief_lock()
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
        made: What the call has made, as `Invocation` lists it.
    """

    def __init__(self, invocation: Invocation, call: Call) -> None:
        self.invocation = invocation
        self.block = invocation.template[:]  # a copy
        self.alive: list[Tensor] = []  # what the kernel reads beside the call's own tensors
        if call.lengths is not None:
            self._lengths(call.lengths)
        self._read(call.tensors)
        self.made = self._make()
        if not self.block[HEADER["row count"]]:
            for gradient in invocation.gradients(self.made):
                if gradient is not None:
                    gradient.zero_()

    def _lengths(self, lengths: Tensor) -> None:
        """The order of the sequences, and the rows that are run."""
        inv = self.invocation
        if lengths.shape != (inv.batch,):
            raise ValueError(f"lengths should have shape [{inv.batch}], got {list(lengths.shape)}")
        lengths = lengths.to(torch.int64)
        if address(lengths) < LOW:
            lengths = readable(lengths, "lengths")
        order, all_rows = inv.schedule.rows(lengths)
        given = {"lengths": lengths, "rows": order, "all rows": all_rows}
        for name, tensor in given.items():
            self.block[HEADER[name]] = tensor.data_ptr()
        self.alive += given.values()
        self.block[HEADER["row count"]] = all_rows.numel()

    def _read(self, tensors: Sequence[Tensor | None]) -> None:
        """Give the kernel what it reads. All is checked: native code trusts it."""
        dtype, block = self.invocation.dtype, self.block
        reads = self.invocation.reads
        for (name, argument, shape, optional), tensor in zip(reads, tensors, strict=True):
            if argument is None or (tensor is None and optional):
                continue
            if tensor is None:
                raise ValueError(f"{name} should be a tensor, got None")
            if tensor.shape != shape or tensor.dtype is not dtype or not tensor.is_cpu:
                raise ValueError(
                    f"{name} should be {dtype} of shape {list(shape)} on the CPU, got "
                    f"{tensor.dtype} of shape {list(tensor.shape)} on {tensor.device}"
                )
            try:  # as `address`, whose call would cost as much as its questions
                at = 0 if tensor.is_neg() or not tensor.is_contiguous() else tensor.data_ptr()
            except RuntimeError:
                at = 0
            if at < LOW:
                tensor = readable(tensor, name)
                self.alive.append(tensor)
                at = tensor.data_ptr()
            block[argument] = at

    def _make(self) -> list[Tensor | None]:
        """Make the memory that the kernel writes, in the order of the invocation."""
        block, made = self.block, []
        for argument, make in self.invocation.made:
            tensor = make()
            made.append(tensor)
            if argument is not None:
                block[argument] = tensor.data_ptr()
        for argument, slots, part in self.invocation.views:
            view = made[slots][part]
            made.append(view)
            if argument is not None:
                block[argument] = view.data_ptr()
        return [*made, None]

    def slots(self) -> list[Tensor]:
        """The slots of each state, [slots, B, n], or [B, n] where there is one."""
        slots: list[Any] = self.made[: self.invocation.states]
        return slots

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
        """What came out."""
        invocation, made = self.invocation, self.made
        return Result(invocation.outputs(made), invocation.finals(made), invocation.gradients(made))
