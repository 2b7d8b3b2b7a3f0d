"""A machine for the GPU backend whose kernels are the reference backend, run on raw memory.

What surrounds a loop is tested with it alone: the kernel knows tensors by the addresses in its
slots only, and makes use of all that the interface of loops allows.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gatework.backends.calls import HALVES, Call
from gatework.backends.gpu.loop import Loop, Refused, Scratch, Setting
from gatework.backends.gpu.machine import Launch, Machine
from gatework.backends.reference import Run
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import aliases_of

DTYPES = {"float": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}
FILLED = 0xA5


@contextmanager
def tf32_allowed() -> Iterator[None]:
    """Inside, products of float32 on CUDA may be of tf32."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


class Interpreted:
    """A machine.

    Attributes:
        loops: The plans and settings of the loops that were made.
        launches: How many kernels have run.
        idle: Whether kernels do nothing.
    """

    architecture, processors, shared, clusters = "sm_90a", 132, 232448, True

    def __init__(self, idle: bool = False) -> None:
        self.loops: list[tuple[Plan, Setting, Loop]] = []
        self.launches, self.idle = 0, idle

    def kernel(self, text: str, about: str = "") -> InterpretedKernel:
        return InterpretedKernel(self, *self.loops[int(text)])

    def resident(self, kernel: InterpretedKernel, launch: Launch) -> int:
        return self.processors


def interpreted(plan: Plan, setting: Setting, machine: Machine) -> Loop:
    """The form of kernel of that machine."""
    assert isinstance(machine, Interpreted)
    recurrence, states = plan.recurrence, plan.recurrence.states
    aliases = {} if setting.ragged else aliases_of(plan)
    slots = dict.fromkeys(state for state, _ in aliases.values())
    read = (*plan.hoisted, *(s.name for s in recurrence.sequences))
    rows = dict.fromkeys((*read, *(n for n in plan.written if n not in aliases)))
    names = (
        "steps", "batch", "lengths", "order", "status", "untouched", "filled",
        *(f"sequence {n}" for n in rows),
        *(f"constant {s.name}" for s in recurrence.constants),
        *(f"{when} {s.name}" for s in states for when in ("initial", "final")),
        *(f"state {n}" for n in slots),
        *(f"parameter {p.name}" for p in recurrence.parameters),
    )  # fmt: skip
    scratch = Scratch("untouched", 0), Scratch("filled", 100, FILLED)
    text = str(len(machine.loops))
    loop = Loop("interpreted", text, Launch(1, 32), names, scratch, "one kernel, interpreted")
    machine.loops.append((plan, setting, loop))
    return loop


def refusing(plan: Plan, setting: Setting, machine: Machine) -> Loop:
    """A form of kernel that runs nothing."""
    raise Refused(f"it runs no plan, not even one of {setting.batch} sequences")


class InterpretedKernel:
    """A kernel of that machine."""

    registers = spilled = status = 0

    def __init__(self, machine: Interpreted, plan: Plan, setting: Setting, loop: Loop) -> None:
        self.machine, self.plan, self.setting, self.loop = machine, plan, setting, loop

    def launch(self, launch: Launch, arguments: array[int]) -> None:
        self.machine.launches += 1
        if not self.machine.idle:
            _Launched(self, dict(zip(self.loop.arguments, arguments, strict=True))).run()


class _Launched:
    def __init__(self, kernel: InterpretedKernel, slots: dict[str, int]) -> None:
        self.plan, self.setting, self.slots = kernel.plan, kernel.setting, slots
        self.dtype = DTYPES[kernel.setting.element]
        self.steps, self.batch = slots["steps"], slots["batch"]
        assert (self.steps, self.batch) == (self.setting.steps, self.setting.batch)

    def memory(
        self, slot: str, dtype: torch.dtype, *shape: int, pitch: int | None = None
    ) -> Tensor:
        """The tensor at an address, its rows a pitch apart."""
        address, n = self.slots[slot], shape[-1]
        grain = min(16, n * dtype.itemsize & -(n * dtype.itemsize))
        assert address, slot
        assert address % grain == 0, slot
        strides = [1, pitch or n]
        for length in reversed(shape[1:-1]):
            strides.append(strides[-1] * length)
        strides = strides[: len(shape)][::-1]
        size = 1 + sum((k - 1) * s for k, s in zip(shape, strides, strict=True))
        raw = (ctypes.c_char * (size * dtype.itemsize)).from_address(address)
        return torch.frombuffer(raw, dtype=dtype).as_strided(shape, strides)

    def sequence(self, name: str, size: str) -> Tensor:
        sizes, length = self.setting.sizes, self.plan.recurrence.length(name, self.steps)
        pitch = self.setting.pitch(name, size)
        shape = length, self.batch, sizes[size]
        return self.memory(f"sequence {name}", self.dtype, *shape, pitch=pitch)

    def run(self) -> None:
        """The loop by the reference, from memory to memory."""
        run = Run(self.plan, self.call())
        for name, value in self.plan.hoisted.items():
            run.sequences[name] = self.wide(self.sequence(name, value.size))
        run.replayed = run.replay() if self.plan.replays else {}
        written, states = run.loop()
        for s, value in zip(self.plan.recurrence.states, states, strict=True):
            self.memory(f"final {s.name}", self.dtype, *value.shape).copy_(value)
        aliases = {} if self.setting.ragged else aliases_of(self.plan)
        for name, value in written.items():
            if name not in aliases and name not in self.plan.hoisted:
                self.write(name, value)
        for name, (state, new) in aliases.items():
            self.trace(state, new, written[name], dict(zip(self.names, states, strict=True)))

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.plan.recurrence.states]

    def write(self, name: str, value: Tensor) -> None:
        """Write the steps that sequences have, and nothing else."""
        memory = self.sequence(name, self.plan.written[name].size)
        if self.setting.ragged and name not in self.plan.recurrence.marked:
            active = torch.arange(self.steps)[:, None] < self.lengths()
            memory[active] = value[active].to(self.dtype)
        else:
            memory.copy_(value)

    def trace(self, state: str, new: bool, value: Tensor, final: dict[str, Tensor]) -> None:
        """Write the slots of a state."""
        shape = self.steps + 1, self.batch, value.shape[-1]
        slots = self.memory(f"state {state}", self.dtype, *shape)
        later = new != self.setting.reverse
        slots[slice(1, None) if later else slice(self.steps)] = value.to(self.dtype)
        if not new:
            slots[0 if self.setting.reverse else self.steps] = final[state].to(self.dtype)

    def call(self) -> Call:
        sizes, recurrence = self.setting.sizes, self.plan.recurrence
        of_sequences = {s.name: s.size for s in recurrence.sequences}
        rows = {s.name: sizes[s.size] for s in (*recurrence.constants, *recurrence.states)}
        parameters = {p.name: p.shape(sizes) for p in recurrence.parameters}
        tensors = []
        for role, name in recurrence.reads:
            if role == "sequence":
                tensors.append(self.sequence(name, of_sequences[name]))
            elif role == "state" and not self.slots[f"initial {name}"]:
                tensors.append(torch.zeros(self.batch, rows[name]))
            elif role == "parameter":
                tensors.append(self.memory(f"parameter {name}", self.dtype, *parameters[name]))
            else:
                slot = f"{'initial' if role == 'state' else role} {name}"
                tensors.append(self.memory(slot, self.dtype, self.batch, rows[name]))
        lengths = self.lengths() if self.setting.ragged else None
        self.check()
        wide = [self.wide(t) for t in tensors]
        return Call((self.steps, self.batch), sizes, wide, lengths, self.setting.reverse)

    def lengths(self) -> Tensor:
        return self.memory("lengths", torch.int64, self.batch)

    def check(self) -> None:
        """What the interface promises of the other slots."""
        if self.setting.ragged:
            order = self.memory("order", torch.int64, self.batch)
            assert order.sort().values.tolist() == list(range(self.batch))
            assert self.lengths()[order].diff().le(0).all(), "the longest sequences come first"
        else:
            assert self.slots["lengths"] == self.slots["order"] == 0
        assert self.memory("filled", torch.uint8, 100).eq(FILLED).all()
        assert self.slots["untouched"]

    def wide(self, tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.dtype in HALVES else tensor
