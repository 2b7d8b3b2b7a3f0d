"""The CPU backend: runs any plan on torch tensors by machine code made for it.

Legend: T steps, B sequences, N rows that are run, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.cpu import target, threads
from gatework.backends.cpu.compiled import Compiled, compiled
from gatework.backends.cpu.schedule import Schedule, choose
from gatework.backends.cpu.setting import HEADER
from gatework.compiler.plan import Plan
from gatework.lang.cell import block_of
from gatework.lang.expressions import Matrix, Symbol

ELEMENTS = {torch.float32: "float", torch.float64: "double"}


class Cpu:
    """Machine code for the processor at hand. See `gatework.backends.calls.Backend`.

    Attributes:
        target: The processor that code is made for.
    """

    name = "cpu"

    def __init__(self, processor: target.Target | None = None) -> None:
        self._target = processor

    @property
    def target(self) -> target.Target:
        """The processor that code is made for; the host's, unless one was given."""
        return self._target or target.host()

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Why a call cannot run here, or None when it can."""
        tensors = [*call.states, *call.sequences.values(), *call.parameters.values()]
        for tensor in tensors:
            if tensor.device.type != "cpu":
                return f"it runs on the CPU only, and a tensor is on {tensor.device}"
            if tensor.dtype not in ELEMENTS:
                return f"it knows float32 and float64, and a tensor is {tensor.dtype}"
        return None

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan."""
        with torch.no_grad():
            run = _Run(plan, call, self.target)
            return run.result()


class _Run:
    """One run: memory for everything the kernel writes, and the block of addresses."""

    def __init__(self, plan: Plan, call: Call, processor: target.Target) -> None:
        self.plan, self.call = plan, call
        self.dtype = call.states[0].dtype
        self.steps, self.batch = call.shape
        self.schedule: Schedule = choose(plan, call, ELEMENTS[self.dtype], processor)
        self.kernel: Compiled = compiled(plan, self.schedule.setting, call.skip)
        self.order, self.all_rows = self.schedule.rows()
        self.names = self.kernel.layout.arguments.names
        self.kept: list[object] = []  # what the kernel reads or writes, alive until it is done
        self.block = np.zeros(self.kernel.layout.arguments.count, np.int64)

    def result(self) -> Result:
        """Lay everything out, run, and name what came out."""
        self.inputs()
        states = self.states()
        outputs = self.outputs(states)
        gradients = self.gradients()
        self.temporaries()
        self.header()
        if self.all_rows.numel():
            threads.run(
                self.kernel.function, self.kernel.address, self.block.ctypes.data,
                self.schedule.threads,
            )  # fmt: skip
        return Result(outputs, self.final(states), gradients)

    # ---- memory --------------------------------------------------------------------------------

    def bind(self, name: str, tensor: Tensor) -> Tensor:
        """Give the kernel a tensor under a name, if it knows that name."""
        if name in self.names:
            self.block[self.names[name]] = tensor.data_ptr()
            self.kept.append(tensor)
        return tensor

    def room(self, *shape: int) -> Tensor:
        """Memory for the kernel to write; zeros where it may leave rows out."""
        make = torch.zeros if self.schedule.setting.ragged else torch.empty
        return make(shape, dtype=self.dtype)

    def units(self, size: str) -> int:
        """The number of units of a size."""
        return self.schedule.setting.sizes[size]

    def inputs(self) -> None:
        """The tensors that are read."""
        for role, tensors in (
            ("sequence", self.call.sequences),
            ("constant", self.call.constants),
            ("parameter", self.call.parameters),
        ):
            for name, tensor in tensors.items():
                self.bind(f"{role} {name}", tensor.contiguous())

    def states(self) -> dict[str, Tensor]:
        """Slots for each state, [slots, B, n], the first one filled."""
        slots = {"single": 1, "double": 2, "trajectory": self.steps + 1}
        found = {}
        kinds = self.kernel.layout.states.items()
        for (name, kind), initial in zip(kinds, self.call.states, strict=True):
            memory = torch.empty((slots[kind], *initial.shape), dtype=self.dtype)
            ragged_double = kind == "double" and self.call.lengths is not None
            backwards = kind == "trajectory" and self.call.reverse
            if ragged_double:
                memory.copy_(initial.expand_as(memory))
            else:
                memory[-1 if backwards else 0].copy_(initial)
            found[name] = self.bind(f"state {name}", memory)
        return found

    def outputs(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The written sequences; those that are a trajectory share its memory."""
        found = {}
        for name, value in {**self.plan.written, **self.plan.deferred}.items():
            if name in self.plan.deferred and name in self.call.skip:
                continue
            alias = self.kernel.layout.aliases.get(name)
            if alias:
                state, new = alias
                tensor = states[state][1:] if new != self.call.reverse else states[state][:-1]
            else:
                tensor = self.room(self.steps, self.batch, self.units(value.size))
            found[name] = self.bind(f"sequence {name}", tensor)
        return found

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of parameters; zeros where some block has none."""
        recurrence = self.plan.recurrence
        parts: list[Matrix | Symbol] = [c.matrix for c in recurrence.contractions]
        parts += [s.parameter for s in recurrence.summations]
        covered: dict[str, set[str]] = {}
        for name, block in map(block_of, parts):
            covered.setdefault(name, set()).add(block)
        blocks = {p.name: set(p.blocks) for p in recurrence.parameters}
        found = {}
        for name in (n for n in covered if n not in self.call.skip):
            whole = covered[name] == blocks[name] and self.all_rows.numel() > 0
            like = self.call.parameters[name]
            gradient = (torch.empty if whole else torch.zeros)(like.shape, dtype=self.dtype)
            found[name] = self.bind(f"gradient {name}", gradient)
        return found

    def temporaries(self) -> None:
        """Packed weights, rows between stages, and scratch memory."""
        layout, setting = self.kernel.layout, self.schedule.setting
        for panels in layout.passes.panels():
            size = setting.blocks(panels.outer).size(self.units(panels.inner))
            self.bind(panels.name, torch.empty(size, dtype=self.dtype))
        for name, units, all_steps in layout.temporaries():
            rows = self.batch * (self.steps if all_steps else 1)
            self.bind(name, torch.empty((rows, self.units(units)), dtype=self.dtype))

    def header(self) -> None:
        """The numbers that steer the kernel."""
        schedule, kernel = self.schedule, self.kernel
        longest = max(setting_size for setting_size in schedule.setting.sizes.values())
        numbers = torch.arange(longest)
        scratch = torch.empty(kernel.scratch * schedule.threads, dtype=self.dtype)
        self.kept += [numbers, scratch]
        values = {
            "team": threads.team_size_function() if schedule.threads > 1 else 0,
            "threads": schedule.threads,
            "steps": self.steps,
            "batch": self.batch,
            "first": self.steps - 1 if self.call.reverse else 0,
            "stride": -1 if self.call.reverse else 1,
            "reverse": int(self.call.reverse),
            "shared": int(schedule.shared),
            "rows": self.order.data_ptr(),
            "all rows": self.all_rows.data_ptr(),
            "row count": self.all_rows.numel(),
            "parts": schedule.threads,
            "scratch": scratch.data_ptr(),
            "scratch size": kernel.scratch,
            "numbers": numbers.data_ptr(),
        }
        if schedule.lengths is not None:
            values["lengths"] = schedule.lengths.data_ptr()
        for name, value in values.items():
            self.block[HEADER[name]] = value

    def final(self, states: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The states after each sequence's last step, in memory of their own."""
        return tuple(
            self._final(kind, states[name]) for name, kind in self.kernel.layout.states.items()
        )

    def _final(self, kind: str, memory: Tensor) -> Tensor:
        if kind == "single":
            return memory[0]
        if kind == "trajectory":
            return memory[0 if self.call.reverse else -1].clone()
        lengths = self.schedule.lengths
        if lengths is None or self.call.reverse:
            return memory[self.steps % 2].clone()
        return torch.where((lengths % 2 == 1)[:, None], memory[1], memory[0])
