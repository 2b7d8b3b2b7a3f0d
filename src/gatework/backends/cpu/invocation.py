"""A kernel made ready for calls of one shape.

Everything that the shape of a call decides is prepared once; a call itself only makes its tensors
and fills in their addresses. Nothing here is changed by a call, so calls from several Python
threads do not meet.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.cpu.compiled import Compiled
from gatework.backends.cpu.memory import rows, zeros
from gatework.backends.cpu.preparation import Preparation
from gatework.backends.cpu.schedule import Schedule
from gatework.backends.cpu.setting import ALIGNMENT, HEADER
from gatework.compiler.plan import Plan
from gatework.lang.definition import block_of
from gatework.lang.expressions import Matrix, Symbol


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
        inputs: What is read besides states, by field of the call.
        states: The name, the way it is kept and the memory of each state.
        outputs: The written sequences.
        gradients: The gradients of parameters, and whether each is written as a whole.
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
        self.inputs = self._plan_inputs(plan)
        self.make = zeros if schedule.setting.ragged else rows
        self.states = self._plan_states()
        self.outputs = self._plan_outputs(plan, skip)
        self.gradients = self._plan_gradients(plan, skip)
        self.element = 4 if schedule.setting.element == "float" else 8
        self.workspace, self.elements = self._plan_workspace()
        self.template = self._plan_header()
        self.constants = self._plan_constants()

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
                [(n, Memory(self.index.get(f"{role} {n}"), s)) for n, s in shapes.items()],
            )
            for role, shapes in fields.items()
        ]

    def _plan_states(self) -> list[tuple[str, str, Memory]]:
        slots = {"single": 1, "double": 2, "trajectory": self.steps + 1}
        found = []
        for name, kind in self.layout.states.items():
            shape = (slots[kind], self.batch, self.sizes[self.layout.state_sizes[name]])
            found.append((name, kind, Memory(self.index.get(f"state {name}"), shape)))
        return found

    def _plan_outputs(self, plan: Plan, skip: frozenset[str]) -> list[tuple[str, Memory]]:
        late = {n: v for n, v in plan.deferred.items() if n not in skip}
        return [
            (
                name,
                Memory(
                    self.index.get(f"sequence {name}"),
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
                Memory(self.index.get(f"gradient {p.name}"), p.shape(self.sizes)),
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
        }
        template = array("q", bytes(8 * self.layout.arguments.count))
        for name, value in values.items():
            template[HEADER[name]] = value
        return template

    def _plan_constants(self) -> list[Tensor]:
        """Rows of constants: they live as long as the addresses in the template."""
        dtype = torch.float32 if self.element == 4 else torch.float64
        rows = []
        for argument, number in self.layout.numbers().items():
            row = torch.full((self.sizes[number.size],), number.value, dtype=dtype)
            self.template[self.index[argument]] = row.data_ptr()
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
