"""A kernel made ready for calls of one shape.

Everything that the shape of a call decides is prepared once; a call itself only makes its tensors
and fills in their addresses. Nothing here is changed by a call, so calls from several Python
threads do not meet.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result, picker
from gatework.backends.cpu.compiled import Compiled
from gatework.backends.cpu.kernel.setting import ALIGNMENT, HEADER
from gatework.backends.cpu.machine.memory import Maker, leasing, maker
from gatework.backends.cpu.preparation import Preparation, numbers
from gatework.backends.cpu.schedule import Schedule
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import Named, Recurrence
from gatework.compiler.stepping import Storage
from gatework.lang.definition import block_of
from gatework.lang.expressions import Count, Matrix, Symbol


class Read(NamedTuple):
    """A tensor that a kernel reads.

    Attributes:
        name: Its name.
        argument: Its argument; None where the kernel does not read it after all.
        shape: Its shape.
        optional: Whether it may be left out: a state that begins at zero.
    """

    name: str
    argument: int | None
    shape: torch.Size
    optional: bool


class Made(NamedTuple):
    """A tensor that a call makes for its kernel: its argument, if it has one, and what makes it."""

    argument: int | None
    make: Maker


class View(NamedTuple):
    """A sequence that is a part of a state's slots: T of them, from the first on.

    Attributes:
        argument: Its argument, if it has one.
        slots: The place of the slots in `Invocation.made`.
        part: Which of them: a slice costs two thirds of what `Tensor.narrow` does.
    """

    argument: int | None
    slots: int
    part: slice


class Invocation:
    """A kernel prepared for calls of one shape.

    What a call makes stands in one list: the slots of the states, [slots, B, n], or [B, n] where
    there is one; the final states that are not such a slot; the outputs and the gradients; the
    views; None, for what is left out. Results are picked from it.

    Attributes:
        kernel: The machine code.
        schedule: How the call is divided among threads.
        dtype: The dtype of all tensors.
        reads: What is read, in the order in which a call gives it.
        made: The memory that is made.
        views: The written sequences that are a part of a state's slots.
        outputs: Picks the outputs; `finals` the final states, `gradients` the gradients.
        states: How many states there are: their slots are made first.
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
        self.zeros = torch.zeros(max(self.sizes.values()), dtype=self.dtype, device="cpu")
        self.natural = numbers(max(self.steps * self.batch, *self.sizes.values()))
        self.reads = self._plan_reads(plan.recurrence)
        self.made: list[Made] = []
        self.states = len(plan.recurrence.states)
        slots, finals = self._plan_states()
        outputs = self._plan_outputs(plan, skip)
        gradients = self._plan_gradients(plan.recurrence, skip)
        self.views = self._plan_views(slots)
        outputs |= {n: len(self.made) + k for k, n in enumerate(self.layout.aliases)}
        self.outputs = picker([outputs.get(n, -1) for n in plan.recurrence.outputs])
        self.finals = picker(finals)
        self.gradients = picker([gradients.get(p.name, -1) for p in plan.recurrence.parameters])
        self.workspace, self.elements = self._plan_workspace()
        self.template = self._plan_header()
        self.rows = self._plan_constants()

    # ---- once a shape --------------------------------------------------------------------------

    def _plan_reads(self, recurrence: Recurrence) -> list[Read]:
        sizes, steps, batch = self.sizes, self.steps, self.batch
        shapes: dict[Named, tuple[int, ...]] = {
            **{
                ("sequence", s.name): (recurrence.length(s.name, steps), batch, sizes[s.size])
                for s in recurrence.sequences
            },
            **{("constant", s.name): (batch, sizes[s.size]) for s in recurrence.constants},
            **{("state", s.name): (batch, sizes[s.size]) for s in recurrence.states},
            **{("parameter", p.name): p.shape(sizes) for p in recurrence.parameters},
        }
        found = []
        for role, name in recurrence.reads:
            initial, shape = role == "state", torch.Size(shapes[role, name])
            argument = self.index.get(f"{'initial' if initial else role} {name}")
            found.append(Read(name, argument, shape, optional=initial))
        return found

    def _make(self, argument: str, make: Maker) -> int:
        """Have a call make a tensor for an argument: its place among all that is made."""
        self.made.append(Made(self.index.get(argument), make))
        return len(self.made) - 1

    def _plan_states(self) -> tuple[dict[str, int], list[int]]:
        """The places of the slots of each state, and of the final states."""
        counts: dict[Storage, tuple[int, ...]] = {
            "single": (), "double": (2,), "trajectory": (self.steps + 1,)
        }  # fmt: skip
        layout, slots, finals = self.layout, {}, []
        rows = {n: (self.batch, self.sizes[size]) for n, size in layout.state_sizes.items()}
        for name, storage in layout.states.items():
            make = leasing((*counts[storage], *rows[name]), self.dtype)
            slots[name] = self._make(f"state {name}", make)
        for name, storage in layout.states.items():
            separate = storage != "single"  # else the one slot holds it at the end
            make = maker(rows[name], self.dtype)
            finals.append(self._make(f"final {name}", make) if separate else slots[name])
        return slots, finals

    def _plan_outputs(self, plan: Plan, skip: frozenset[str]) -> dict[str, int]:
        """The places of the written sequences that have memory of their own."""
        late = {n: v for n, v in plan.deferred.items() if n not in skip}
        found: dict[str, int] = {}
        for name, value in {**plan.written, **late}.items():
            if name not in (*self.layout.aliases, *self.layout.private):
                length = plan.recurrence.length(name, self.steps)
                shape = (length, self.batch, self.sizes[value.size])
                making = maker if name in plan.recurrence.handed_out else leasing
                make = making(shape, self.dtype, filled=self.ragged)
                found[name] = self._make(f"sequence {name}", make)
        return found

    def _plan_views(self, slots: Mapping[str, int]) -> list[View]:
        later, earlier = slice(1, self.steps + 1), slice(self.steps)
        return [
            View(
                self.index.get(f"sequence {name}"),
                slots[state],
                later if new != self.reverse else earlier,
            )
            for name, (state, new) in self.layout.aliases.items()
        ]

    def _plan_gradients(self, recurrence: Recurrence, skip: frozenset[str]) -> dict[str, int]:
        """The places of the parameters' gradients. Not filled where the kernel writes it all."""
        parts: list[Matrix | Symbol] = [c.matrix for c in recurrence.contractions]
        parts += [s.parameter for s in recurrence.summations]
        covered: dict[str, set[str]] = {}
        for name, block in map(block_of, parts):
            covered.setdefault(name, set()).add(block)
        found = {}
        for p in recurrence.parameters:
            if p.name in covered and p.name not in skip:
                filled = covered[p.name] != set(p.blocks)
                make = maker(p.shape(self.sizes), self.dtype, filled)
                found[p.name] = self._make(f"gradient {p.name}", make)
        return found

    def _plan_workspace(self) -> tuple[list[tuple[int, int]], int]:
        """Memory that only the kernel sees: arguments with offsets in elements, and the total."""
        wanted = [(HEADER["scratch"], self.kernel.scratch * self.schedule.threads)]
        wanted += [(self.index[p.name], self.layout.panel_size(p)) for p in self.layout.panels()]
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
            "parts": self.schedule.parts,
            "scratch size": self.kernel.scratch,
            "numbers": self.natural.data_ptr(),
            "rows": self.natural.data_ptr(),
            "all rows": self.natural.data_ptr(),
            "row count": self.steps * self.batch,
            "zeros": self.zeros.data_ptr(),
        }
        template = array("q", bytes(8 * self.layout.arguments.count))
        for name, value in values.items():
            template[HEADER[name]] = value
        return template

    def _plan_constants(self) -> list[Tensor]:
        """Rows of constants and indices: they live as long as the addresses in the template."""
        rows = []
        for argument, number in self.layout.numbers().items():
            size = (self.sizes[number.size],)
            value = self.sizes[number.of] if isinstance(number, Count) else number.value
            row = torch.full(size, value, dtype=self.dtype, device="cpu")
            self.template[self.index[argument]] = row.data_ptr()
            rows.append(row)
        for table, argument in self.layout.tables().items():
            index = torch.tensor(table, dtype=torch.int64, device="cpu")
            self.template[self.index[argument]] = index.data_ptr()
            rows.append(index)
        return rows

    # ---- once a call ---------------------------------------------------------------------------

    def run(self, call: Call) -> Result:
        """Lay everything out, run, and name what came out."""
        prepared = Preparation(self, call)
        if self.batch:
            prepared.shared_workspace()
            prepared.start()
        return prepared.result()
