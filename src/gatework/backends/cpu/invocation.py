"""A kernel made ready for calls of one shape.

Everything that the shape of a call decides is prepared once; a call itself only makes its tensors
and fills in their addresses. Nothing here is changed by a call, so calls from several Python
threads do not meet.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.cpu.compiled import Compiled
from gatework.backends.cpu.memory import Maker, maker
from gatework.backends.cpu.preparation import Preparation, numbers
from gatework.backends.cpu.schedule import Schedule
from gatework.backends.cpu.setting import ALIGNMENT, HEADER
from gatework.compiler.plan import Plan
from gatework.lang.definition import block_of
from gatework.lang.expressions import Matrix, Symbol

WORTH_FITTING = 2**20  # bytes of rows whose memory is made to fit other rows


class Read(NamedTuple):
    """A tensor that a kernel reads: its name, its argument, if it has one, and its shape."""

    name: str
    argument: int | None
    shape: torch.Size


class State(NamedTuple):
    """A state: the slots it is kept in, and where it is found at the end.

    Attributes:
        name: Its name.
        argument: The argument that points to its slots.
        make: Makes these, [slots, B, n], or [B, n] where there is one.
        final: The argument that points to the final state; None where that is the one slot.
        make_final: Makes the final state, [B, n].
    """

    name: str
    argument: int
    make: Maker
    final: int | None
    make_final: Maker


class Written(NamedTuple):
    """A tensor that a kernel writes: its name, its argument, if it has one, and what makes it."""

    name: str
    argument: int | None
    make: Maker


class View(NamedTuple):
    """A sequence that is a part of a state's slots: T of them, from the first on."""

    name: str
    argument: int | None
    state: str
    first: int


class Invocation:
    """A kernel prepared for calls of one shape.

    Attributes:
        kernel: The machine code.
        schedule: How the call is divided among threads.
        dtype: The dtype of all tensors.
        sequences: What is read at each step; so are `constants` and `parameters`.
        initial: The initial states.
        states: The states.
        outputs: The written sequences with memory of their own.
        views: Those that are a part of a state's slots.
        gradients: The gradients of parameters.
        workspace: Memory that only the kernel sees: arguments and offsets in elements.
        elements: The length of the workspace.
        template: The block of arguments, as far as the shape decides it.
    """

    def __init__(
        self, plan: Plan, schedule: Schedule, kernel: Compiled, skip: frozenset[str]
    ) -> None:
        self.kernel, self.schedule = kernel, schedule
        self.layout, self.sizes = kernel.layout, schedule.setting.sizes
        self.steps, self.batch = schedule.shape
        self.reverse = schedule.reverse
        self.index = self.layout.arguments.names
        self.ragged = schedule.setting.ragged
        self.element = 4 if schedule.setting.element == "float" else 8
        self.dtype = torch.float32 if self.element == 4 else torch.float64
        self.natural = numbers(max(self.steps * self.batch, *self.sizes.values()))
        recurrence, sizes, rows = plan.recurrence, self.sizes, (self.steps, self.batch)
        self.sequences = self._reads(
            "sequence", {s.name: (*rows, sizes[s.size]) for s in recurrence.sequences}
        )
        self.constants = self._reads(
            "constant", {s.name: (self.batch, sizes[s.size]) for s in recurrence.constants}
        )
        self.parameters = self._reads(
            "parameter", {p.name: p.shape(sizes) for p in recurrence.parameters}
        )
        units = {n: sizes[size] for n, size in self.layout.state_sizes.items()}
        self.initial = self._reads("initial", {n: (self.batch, units[n]) for n in units})
        self.state_names = tuple(units)
        self.states = self._plan_states(units)
        self.outputs, self.views = self._plan_outputs(plan, skip)
        self.gradients = self._plan_gradients(plan, skip)
        self.workspace, self.elements = self._plan_workspace()
        self.template = self._plan_header()
        self.rows = self._plan_constants()

    # ---- once a shape --------------------------------------------------------------------------

    def _reads(self, role: str, shapes: Mapping[str, tuple[int, ...]]) -> list[Read]:
        """What is read in one role, by name."""
        return [
            Read(n, self.index.get(f"{role} {n}"), torch.Size(shape)) for n, shape in shapes.items()
        ]

    def _plan_states(self, units: Mapping[str, int]) -> list[State]:
        slots = {"single": (), "double": (2,), "trajectory": (self.steps + 1,)}
        found = []
        for name, storage in self.layout.states.items():
            row = (self.batch, units[name])
            make = maker((*slots[storage], *row), self.dtype)
            final = self.index.get(f"final {name}")
            state = State(name, self.index[f"state {name}"], make, final, maker(row, self.dtype))
            found.append(state)
        return found

    def _plan_outputs(self, plan: Plan, skip: frozenset[str]) -> tuple[list[Written], list[View]]:
        late = {n: v for n, v in plan.deferred.items() if n not in skip}
        outputs: list[Written] = []
        views: list[View] = []
        for name, value in {**plan.written, **late}.items():
            argument = self.index.get(f"sequence {name}")
            if name in self.layout.aliases:
                state, new = self.layout.aliases[name]
                views.append(View(name, argument, state, int(new != self.reverse)))
            else:
                handed_out = name in late or not (outputs or views)
                make = self._rows(self.sizes[value.size], handed_out)
                outputs.append(Written(name, argument, make))
        return outputs, views

    def _rows(self, units: int, handed_out: bool) -> Maker:
        """What makes the rows of all steps, [T, B, n].

        Large ones that are not handed out have room for one step more, as the slots of a state
        have: memory that one of them frees then fits the others, and a training step finds all
        it needs in what the one before has freed.
        """
        shape = (self.steps, self.batch, units)
        large = math.prod(shape) * self.element >= WORTH_FITTING
        if handed_out or self.ragged or not large:
            return maker(shape, self.dtype, filled=self.ragged)
        make = maker((self.steps + 1, *shape[1:]), self.dtype)
        return lambda: make().narrow(0, 0, self.steps)

    def _plan_gradients(self, plan: Plan, skip: frozenset[str]) -> list[Written]:
        """Not filled where the kernel writes the whole of it."""
        recurrence = plan.recurrence
        parts: list[Matrix | Symbol] = [c.matrix for c in recurrence.contractions]
        parts += [s.parameter for s in recurrence.summations]
        covered: dict[str, set[str]] = {}
        for name, block in map(block_of, parts):
            covered.setdefault(name, set()).add(block)
        found = []
        for p in recurrence.parameters:
            if p.name in covered and p.name not in skip:
                filled = covered[p.name] != set(p.blocks)
                make = maker(p.shape(self.sizes), self.dtype, filled)
                found.append(Written(p.name, self.index.get(f"gradient {p.name}"), make))
        return found

    def _plan_workspace(self) -> tuple[list[tuple[int, int]], int]:
        """Memory that only the kernel sees: arguments with offsets in elements, and the total."""
        setting = self.schedule.setting
        wanted = [(HEADER["scratch"], self.kernel.scratch * self.schedule.threads)]
        for p in self.layout.panels():
            size = setting.blocks(p.outer).size(self.sizes[p.inner])
            wanted.append((self.index[p.name], size))
        for name, size_name, all_steps in self.layout.temporaries():
            rows = self.batch * (self.steps if all_steps else 1)
            wanted.append((self.index[name], rows * self.sizes[size_name]))
        grain, total, placed = ALIGNMENT // self.element, 0, []
        for index, size in wanted:
            placed.append((index, total))
            total += -(-size // grain) * grain
        return placed, total + grain

    def _plan_header(self) -> array[int]:
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
            "numbers": self.natural.data_ptr(),
            "rows": self.natural.data_ptr(),
            "all rows": self.natural.data_ptr(),
            "row count": self.steps * self.batch,
        }
        template = array("q", bytes(8 * self.layout.arguments.count))
        for name, value in values.items():
            template[HEADER[name]] = value
        return template

    def _plan_constants(self) -> list[Tensor]:
        """Rows of constants: they live as long as the addresses in the template."""
        rows = []
        for argument, number in self.layout.numbers().items():
            size = (self.sizes[number.size],)
            row = torch.full(size, number.value, dtype=self.dtype, device="cpu")
            self.template[self.index[argument]] = row.data_ptr()
            rows.append(row)
        return rows

    # ---- once a call ---------------------------------------------------------------------------

    def run(self, call: Call) -> Result:
        """Lay everything out, run, and name what came out."""
        prepared = Preparation(self, call)
        if self.batch:
            prepared.shared_workspace()
            prepared.start()
        return prepared.result()
