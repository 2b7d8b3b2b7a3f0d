"""One call of a kernel: its tensors, and the block of numbers and addresses it is given.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatework.backends.calls import Call
from gatework.backends.cpu import threads
from gatework.backends.cpu.memory import rows, workspace, zeros
from gatework.backends.cpu.setting import ALIGNMENT, HEADER

if TYPE_CHECKING:
    from gatework.backends.cpu.invocation import Invocation

_numbers = torch.arange(4096)
_lock = threading.Lock()


def numbers(count: int) -> Tensor:
    """At least `count` of 0, 1, 2, …: rows in their natural order."""
    global _numbers
    with _lock:
        if _numbers.numel() < count:
            _numbers = torch.arange(2 * count)
        return _numbers


class Preparation:
    """The tensors of one call, and the block that the kernel is given.

    Attributes:
        count: How many rows are run.
        states: Each state, [B, n] or [slots, B, n].
        outputs: The written sequences.
        gradients: The gradients of parameters.
    """

    def __init__(self, invocation: Invocation, call: Call) -> None:
        self.invocation, self.call = invocation, call
        self.dtype = call.states[0].dtype
        self.block = invocation.template[:]  # a copy
        self.alive: list[Tensor] = []  # what the kernel reads, until it is done
        self.lengths = call.lengths
        self.count = self._rows()
        self._inputs()
        self.states = self._states()
        self.outputs = self._outputs()
        self.gradients = self._gradients()

    def bind(self, argument: int | None, tensor: Tensor) -> Tensor:
        """Give the kernel a tensor, if it has an argument for it."""
        if argument is not None:
            self.block[argument] = tensor.data_ptr()
            self.alive.append(tensor)
        return tensor

    def _rows(self) -> int:
        """The order of the sequences and the rows that are run; returns how many these are."""
        inv = self.invocation
        count = inv.steps * inv.batch
        natural = numbers(max(count, *inv.sizes.values()))
        order = all_rows = natural
        if self.lengths is not None:
            if self.lengths.shape != (inv.batch,):
                raise ValueError(
                    f"lengths should have shape [{inv.batch}], got {list(self.lengths.shape)}"
                )
            self.lengths = self.lengths.to(torch.int64).contiguous()
            order, all_rows = inv.schedule.rows(self.lengths)
            count = all_rows.numel()
            self.bind(HEADER["lengths"], self.lengths)
        self.bind(HEADER["numbers"], natural)
        self.bind(HEADER["rows"], order)
        self.bind(HEADER["all rows"], all_rows)
        self.block[HEADER["row count"]] = count
        return count

    def _inputs(self) -> None:
        """The tensors that are read. Their shapes are checked: native code trusts them."""
        for field, wanted in self.invocation.inputs:
            tensors = getattr(self.call, field)
            for name, memory in wanted:
                tensor = tensors[name]
                self.check(name, tensor, memory.shape)
                if not tensor.is_contiguous():
                    tensor = tensor.contiguous()
                self.bind(memory.argument, tensor)

    def check(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        """Raise unless a tensor has the shape and the dtype that the kernel expects."""
        if tensor.shape != shape or tensor.dtype != self.dtype:
            raise ValueError(
                f"{name} should be {self.dtype} of shape {list(shape)}, "
                f"got {tensor.dtype} of shape {list(tensor.shape)}"
            )

    def _states(self) -> dict[str, Tensor]:
        """Each state, [B, n] or [slots, B, n]; the initial value is in the slot read first."""
        found = {}
        for (name, kind, memory), initial in zip(
            self.invocation.states, self.call.states, strict=True
        ):
            self.check(name, initial, memory.shape[-2:])
            if kind == "single":
                found[name] = self.bind(memory.argument, initial.contiguous().clone())
                continue
            slots = rows(memory.shape, self.dtype)
            if kind == "double" and self.lengths is not None:
                slots.copy_(initial.expand_as(slots))  # a sequence may start in either slot
            else:
                slots[-1 if kind == "trajectory" and self.call.reverse else 0].copy_(initial)
            found[name] = self.bind(memory.argument, slots)
        return found

    def _outputs(self) -> dict[str, Tensor]:
        """The written sequences; those that are a trajectory share its memory."""
        aliases, found = self.invocation.layout.aliases, {}
        for name, memory in self.invocation.outputs:
            if name in aliases:
                state, new = aliases[name]
                slots = self.states[state]
                tensor = slots[1:] if new != self.call.reverse else slots[:-1]
            else:
                tensor = self.invocation.make(memory.shape, self.dtype)
            found[name] = self.bind(memory.argument, tensor)
        return found

    def _gradients(self) -> dict[str, Tensor]:
        """The gradients of parameters; zeros where the kernel leaves something out."""
        return {
            name: self.bind(
                memory.argument,
                (rows if whole and self.count else zeros)(memory.shape, self.dtype),
            )
            for name, memory, whole in self.invocation.gradients
        }

    def shared_workspace(self) -> None:
        """Use the workspace of this thread, which its next call uses again."""
        self._use(workspace(self.invocation.elements, self.dtype))

    def own_workspace(self) -> None:
        """Use a workspace that nobody else uses: what is packed in it stays."""
        self._use(torch.empty(self.invocation.elements, dtype=self.dtype))

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

    def final(self) -> tuple[Tensor, ...]:
        """The states after each sequence's last step, in memory of their own."""
        return tuple(
            self._final(kind, self.states[name]) for name, kind, _ in self.invocation.states
        )

    def _final(self, kind: str, slots: Tensor) -> Tensor:
        if kind == "single":
            return slots
        if kind == "trajectory":
            return slots[0 if self.call.reverse else -1].clone()
        if self.lengths is None or self.call.reverse:
            return slots[self.invocation.steps % 2].clone()
        return torch.where((self.lengths % 2 == 1)[:, None], slots[1], slots[0])
