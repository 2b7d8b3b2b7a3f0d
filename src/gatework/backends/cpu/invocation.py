"""Calling a kernel: the memory it writes, and the block of numbers and addresses it is given.

Everything that the shape of a call decides is prepared once for that shape; a call itself only
makes its tensors and fills in their addresses. Nothing here is changed by a call, so calls from
several Python threads do not meet.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.cpu import threads
from gatework.backends.cpu.compiled import Compiled
from gatework.backends.cpu.schedule import Schedule
from gatework.backends.cpu.setting import HEADER
from gatework.compiler.plan import Plan
from gatework.lang.cell import block_of
from gatework.lang.expressions import Matrix, Symbol

ALIGNMENT = 64  # bytes: a cache line, and the widest vector

LARGEST_KEPT = 16 * 2**20  # bytes of workspace that a thread keeps for its next call

_numbers = torch.arange(4096)
_lock = threading.Lock()
_kept = threading.local()  # each Python thread's workspace


def workspace(elements: int, dtype: torch.dtype) -> Tensor:
    """Memory for one call, the same as in this thread's last call where that is enough."""
    size = elements * dtype.itemsize
    memory: Tensor | None = getattr(_kept, "memory", None)
    if memory is None or memory.numel() < size:
        memory = torch.empty(size, dtype=torch.uint8)
        if size <= LARGEST_KEPT:
            _kept.memory = memory
    return memory


def numbers(count: int) -> Tensor:
    """At least `count` of 0, 1, 2, …: rows in their natural order."""
    global _numbers
    with _lock:
        if _numbers.numel() < count:
            _numbers = torch.arange(2 * count)
        return _numbers


@dataclass(frozen=True)
class Memory:
    """A tensor that a kernel writes: its argument, if it has one, and its shape."""

    argument: int | None
    shape: tuple[int, ...]


class Invocation:
    """A kernel prepared for calls of one shape.

    Attributes:
        kernel: The machine code.
        schedule: How the call is divided among threads.
    """

    def __init__(
        self, plan: Plan, schedule: Schedule, kernel: Compiled, skip: frozenset[str]
    ) -> None:
        self.kernel, self.schedule = kernel, schedule
        self.layout, self.sizes = kernel.layout, schedule.setting.sizes
        self.steps, self.batch = schedule.shape
        self.reverse = schedule.reverse
        self._index = self.layout.arguments.names
        self._inputs = self._plan_inputs(plan)
        self._make = torch.zeros if schedule.setting.ragged else torch.empty
        self._states = self._plan_states()
        self._outputs = self._plan_outputs(plan, skip)
        self._gradients = self._plan_gradients(plan, skip)
        self._element = 4 if schedule.setting.element == "float" else 8
        self._workspace, self._elements = self._plan_workspace()
        self._template = self._plan_header()
        self._constants = self._plan_constants()

    # ---- once a shape --------------------------------------------------------------------------

    def _plan_inputs(self, plan: Plan) -> list[tuple[str, list[tuple[str, Memory]]]]:
        """What is read besides states: the field of the call, then names and memory."""
        recurrence, sizes = plan.recurrence, self.sizes
        sequences = {s.name: (self.steps, self.batch, sizes[s.size]) for s in recurrence.sequences}
        constants = {s.name: (self.batch, sizes[s.size]) for s in recurrence.constants}
        parameters = {p.name: p.shape(sizes) for p in recurrence.parameters}
        fields: dict[str, Mapping[str, tuple[int, ...]]] = {
            "sequence": sequences,
            "constant": constants,
            "parameter": parameters,
        }
        return [
            (
                f"{role}s",
                [(n, Memory(self._index.get(f"{role} {n}"), s)) for n, s in shapes.items()],
            )
            for role, shapes in fields.items()
        ]

    def _plan_states(self) -> list[tuple[str, str, Memory]]:
        slots = {"single": 1, "double": 2, "trajectory": self.steps + 1}
        found = []
        for name, kind in self.layout.states.items():
            shape = (slots[kind], self.batch, self.sizes[self.layout.state_sizes[name]])
            found.append((name, kind, Memory(self._index.get(f"state {name}"), shape)))
        return found

    def _plan_outputs(self, plan: Plan, skip: frozenset[str]) -> list[tuple[str, Memory]]:
        late = {n: v for n, v in plan.deferred.items() if n not in skip}
        return [
            (
                name,
                Memory(
                    self._index.get(f"sequence {name}"),
                    (self.steps, self.batch, self.sizes[value.size]),
                ),
            )
            for name, value in {**plan.written, **late}.items()
        ]

    def _plan_gradients(self, plan: Plan, skip: frozenset[str]) -> list[tuple[str, Memory, bool]]:
        """Name, memory, and whether it is written as a whole."""
        recurrence = plan.recurrence
        parts: list[Matrix | Symbol] = [c.matrix for c in recurrence.contractions]
        parts += [s.parameter for s in recurrence.summations]
        covered: dict[str, set[str]] = {}
        for name, block in map(block_of, parts):
            covered.setdefault(name, set()).add(block)
        return [
            (
                p.name,
                Memory(self._index.get(f"gradient {p.name}"), p.shape(self.sizes)),
                covered[p.name] == set(p.blocks),
            )
            for p in recurrence.parameters
            if p.name in covered and p.name not in skip
        ]

    def _plan_workspace(self) -> tuple[list[tuple[int, int]], int]:
        """Memory that only the kernel sees: arguments with offsets in elements, and the total."""
        setting = self.schedule.setting
        wanted = [(HEADER["scratch"], self.kernel.scratch * self.schedule.threads)]
        for p in self.layout.panels():
            size = setting.blocks(p.outer).size(self.sizes[p.inner])
            wanted.append((self._index[p.name], size))
        for name, size_name, all_steps in self.layout.temporaries():
            rows = self.batch * (self.steps if all_steps else 1)
            wanted.append((self._index[name], rows * self.sizes[size_name]))
        grain, total, placed = ALIGNMENT // self._element, 0, []
        for index, size in wanted:
            placed.append((index, total))
            total += -(-size // grain) * grain
        return placed, total + grain

    def _plan_header(self) -> list[int]:
        values = {
            "threads": self.schedule.threads,
            "steps": self.steps,
            "batch": self.batch,
            "first": self.steps - 1 if self.reverse else 0,
            "stride": -1 if self.reverse else 1,
            "reverse": int(self.reverse),
            "shared": int(self.schedule.shared),
            "parts": self.schedule.threads,
            "scratch size": self.kernel.scratch,
        }
        template = [0] * self.layout.arguments.count
        for name, value in values.items():
            template[HEADER[name]] = value
        return template

    def _plan_constants(self) -> list[Tensor]:
        """Rows of constants: they live as long as the addresses in the template."""
        dtype = torch.float32 if self._element == 4 else torch.float64
        rows = []
        for argument, number in self.layout.numbers().items():
            row = torch.full((self.sizes[number.size],), number.value, dtype=dtype)
            self._template[self._index[argument]] = row.data_ptr()
            rows.append(row)
        return rows

    # ---- once a call ---------------------------------------------------------------------------

    def run(self, call: Call) -> Result:
        """Lay everything out, run, and name what came out."""
        prepared = Preparation(self, call)
        if prepared.count:
            prepared.shared_workspace()
            prepared.start()
        return Result(prepared.outputs, prepared.final(), prepared.gradients)


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
        self.block = invocation._template.copy()
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
        for field, wanted in self.invocation._inputs:
            tensors = getattr(self.call, field)
            for name, memory in wanted:
                tensor = tensors[name]
                self.check(name, tensor, memory.shape)
                self.bind(memory.argument, tensor.contiguous())

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
            self.invocation._states, self.call.states, strict=True
        ):
            self.check(name, initial, memory.shape[-2:])
            if kind == "single":
                found[name] = self.bind(memory.argument, initial.contiguous().clone())
                continue
            slots = torch.empty(memory.shape, dtype=self.dtype)
            if kind == "double" and self.lengths is not None:
                slots.copy_(initial.expand_as(slots))  # a sequence may start in either slot
            else:
                slots[-1 if kind == "trajectory" and self.call.reverse else 0].copy_(initial)
            found[name] = self.bind(memory.argument, slots)
        return found

    def _outputs(self) -> dict[str, Tensor]:
        """The written sequences; those that are a trajectory share its memory."""
        aliases, found = self.invocation.layout.aliases, {}
        for name, memory in self.invocation._outputs:
            if name in aliases:
                state, new = aliases[name]
                slots = self.states[state]
                tensor = slots[1:] if new != self.call.reverse else slots[:-1]
            else:
                tensor = self.invocation._make(memory.shape, dtype=self.dtype)
            found[name] = self.bind(memory.argument, tensor)
        return found

    def _gradients(self) -> dict[str, Tensor]:
        """The gradients of parameters; zeros where the kernel leaves something out."""
        return {
            name: self.bind(
                memory.argument,
                (torch.empty if whole and self.count else torch.zeros)(
                    memory.shape, dtype=self.dtype
                ),
            )
            for name, memory, whole in self.invocation._gradients
        }

    def shared_workspace(self) -> None:
        """Use the workspace of this thread, which its next call uses again."""
        self._use(workspace(self.invocation._elements, self.dtype))

    def own_workspace(self) -> None:
        """Use a workspace that nobody else uses: what is packed in it stays."""
        self._use(torch.empty(self.invocation._elements, dtype=self.dtype))

    def _use(self, memory: Tensor) -> None:
        """Lay out packed weights, rows between stages and scratch memory."""
        self.alive.append(memory)
        start = -(-memory.data_ptr() // ALIGNMENT) * ALIGNMENT
        for argument, offset in self.invocation._workspace:
            self.block[argument] = start + offset * self.invocation._element

    def native_block(self) -> ctypes.Array[ctypes.c_int64]:
        """The block as native code reads it."""
        return (ctypes.c_int64 * len(self.block))(*self.block)

    def start(self) -> None:
        """Run the kernel on all threads."""
        kernel, count = self.invocation.kernel, self.invocation.schedule.threads
        if count > 1:
            self.block[HEADER["team"]] = threads.team_size_function()
        block = self.native_block()
        threads.run(kernel.function, kernel.address, ctypes.addressof(block), count)

    def final(self) -> tuple[Tensor, ...]:
        """The states after each sequence's last step, in memory of their own."""
        return tuple(
            self._final(kind, self.states[name]) for name, kind, _ in self.invocation._states
        )

    def _final(self, kind: str, slots: Tensor) -> Tensor:
        if kind == "single":
            return slots
        if kind == "trajectory":
            return slots[0 if self.call.reverse else -1].clone()
        if self.lengths is None or self.call.reverse:
            return slots[self.invocation.steps % 2].clone()
        return torch.where((self.lengths % 2 == 1)[:, None], slots[1], slots[0])
