"""A loop made ready for calls of one shape.

Everything that the shape of a call decides is worked out once; a call itself only makes its
tensors, fills in their addresses and launches, see `gatework.backends.gpu.running`. Nothing here is
changed by a call, so calls from several Python threads do not meet.

Legend: T steps, B sequences, N = T·B rows, n units of a row.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gatework.backends.calls import picker
from gatework.backends.gpu.after import After, read_after
from gatework.backends.gpu.loop import VECTOR, Loop, Setting
from gatework.backends.gpu.machine import Kernel, Machine
from gatework.backends.gpu.memory import Memory
from gatework.backends.gpu.rows import Names
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import Named, Recurrence
from gatework.forking import building, cached_property


class Read(NamedTuple):
    """A tensor that is read.

    Attributes:
        name: Its name.
        slot: Its slot; None where the kernel does not read it.
        shape: Its shape.
        grain: Bytes of which its address is a multiple.
        optional: Whether it may be left out: a state that begins at zero.
    """

    name: str
    slot: int | None
    shape: torch.Size
    grain: int
    optional: bool


class Made(NamedTuple):
    """A tensor that a call makes.

    Attributes:
        name: What it is.
        slot: Its slot; None where nobody but views has one.
        like: A tensor of one number, expanded: tensors like another are made in half the time.
        fill: What it is filled with: 0, bytes of a scratch memory, or None for nothing.
    """

    name: str
    slot: int | None
    like: Tensor
    fill: int | None


class View(NamedTuple):
    """A sequence that lies in something else.

    Attributes:
        slot: Its slot.
        of: In which of what is made, or of the products before the loop.
        offset: Bytes from its beginning.
    """

    slot: int
    of: int
    offset: int


class Prepared:
    """A loop and all that calls of one shape have in common.

    It is kept for as long as the plan and the sizes live, so it holds neither of them.

    Args:
        plan: The plan.
        loop: Its loop.
        setting: What the loop is made for.
        memory: How its sequences lie.
        machine: Where it runs.
        skip: Outputs and gradients that are not wanted.
        like: A tensor of the calls' dtype and device.

    Attributes:
        reads: What is read, in the order in which a call gives it.
        made: What a call makes.
        aliases: Written sequences that are a part of a state's slots: place in `made`, which part.
        sides: What lies side by side: its name, its place in `made`, its columns.
        owned: Written sequences with memory of their own: the place in `made`.
        views: Slots of what lies in something made: place in `made`, bytes from its beginning.
        products: The same of what lies in the products before the loop.
        rest: The slots of what else is computed before the loop.
        early: What was computed before the loop and is read after it, or handed out.
        finals: Picks the final states out of what is made.
    """

    def __init__(
        self, plan: Plan, loop: Loop, setting: Setting, memory: Memory, machine: Machine,
        skip: frozenset[str], like: Tensor,
    ) -> None:  # fmt: skip
        self.loop, self.setting, self.machine = loop, setting, machine
        self.dtype, self.device, self.before = like.dtype, like.device, memory.before
        self.like = torch.empty((), dtype=like.dtype, device=like.device)
        self.bytes = torch.empty((), dtype=torch.uint8, device=like.device)
        self.slot = {name: k for k, name in enumerate(loop.arguments)}
        self.after = After(plan, setting.sizes, memory.sides, skip)
        self.outputs = tuple(plan.recurrence.outputs)
        self.parameters = tuple(p.name for p in plan.recurrence.parameters)
        self.reads = list(self._reads(plan.recurrence))
        self.made = list(self._made(plan, memory))
        place = {m.name: k for k, m in enumerate(self.made)}
        self.aliases = {
            name: (place[f"state {state}"], self._part(new))
            for name, (state, new) in memory.aliases.items()
            if f"state {state}" in place
        }
        self.sides = list(self._sides(memory, place))
        self.owned = {n: place[f"sequence {n}"] for n in plan.written if f"sequence {n}" in place}
        self.views = list(self._views(memory, place))
        self.products = list(self._products())
        self.rest = {n: self.slot[f"sequence {n}"] for n in self.before.rest if self._is_read(n)}
        late = read_after(plan) | set(self.outputs)
        self.early = tuple(n for n in plan.hoisted if n in late)
        self.handed_out = plan.recurrence.handed_out
        self.finals = picker([place[f"final {s.name}"] for s in plan.recurrence.states])
        self.names = Names.of(plan)
        self._check(plan)

    def _check(self, plan: Plan) -> None:
        """Raise unless the kernel writes all that the plan promises."""
        results = [f"final {s.name}" for s in plan.recurrence.states]
        before = {*self.aliases, *plan.hoisted}
        results += [f"sequence {n}" for n in plan.written if n not in before]
        lost = [name for name in results if name not in self.slot]
        if lost:
            raise ValueError(f"a kernel of the form {self.loop.form!r} writes no {lost}")

    @cached_property
    def kernel(self) -> Kernel:
        """The compiled kernel."""
        with building:
            return self.machine.kernel(self.loop.text, self.loop.about)

    @cached_property
    def template(self) -> array[int]:
        """The slots, as far as no call decides them."""
        known = {
            "steps": self.setting.steps,
            "batch": self.setting.batch,
            "status": self.kernel.status,
        }
        return array("q", [known.get(name, 0) for name in self.loop.arguments])

    def _is_read(self, sequence: str) -> bool:
        return f"sequence {sequence}" in self.slot

    def _reads(self, recurrence: Recurrence) -> Iterator[Read]:
        setting = self.setting
        sizes, steps, batch = setting.sizes, setting.steps, setting.batch
        shapes: dict[Named, tuple[int, ...]] = {
            **{
                ("sequence", s.name): (recurrence.length(s.name, steps), batch, sizes[s.size])
                for s in recurrence.sequences
            },
            **{("constant", s.name): (batch, sizes[s.size]) for s in recurrence.constants},
            **{("state", s.name): (batch, sizes[s.size]) for s in recurrence.states},
            **{("parameter", p.name): p.shape(sizes) for p in recurrence.parameters},
        }
        for role, name in recurrence.reads:
            state, shape = role == "state", torch.Size(shapes[role, name])
            slot = self.slot.get(f"{'initial' if state else role} {name}")
            grain = math.gcd(VECTOR, shape[-1] * self.dtype.itemsize)
            yield Read(name, slot, shape, grain, optional=state)

    def _made(self, plan: Plan, memory: Memory) -> Iterator[Made]:
        """The slots of states, the final states, what is written, and the kernel's own memory."""
        setting = self.setting
        rows, zero = (setting.steps, setting.batch), 0 if setting.ragged else None
        for s in plan.recurrence.states:
            row = setting.batch, setting.sizes[s.size]
            if f"state {s.name}" in self.slot:
                yield self._made_of(f"state {s.name}", (setting.steps + 1, *row))
            yield self._made_of(f"final {s.name}", row)
        for name, width in memory.widths().items():
            yield self._made_of(name, (math.prod(rows), width), zero)
        for name, value in plan.written.items():
            if name not in plan.hoisted and self._is_alone(name, memory):
                length = plan.recurrence.length(name, setting.steps)
                shape = length, setting.batch, setting.sizes[value.size]
                yield self._made_of(f"sequence {name}", shape, zero)
        for scratch in self.loop.scratch:
            like = self.bytes.expand(max(1, scratch.size))
            yield Made(scratch.name, self.slot.get(scratch.name), like, scratch.fill)

    def _is_alone(self, name: str, memory: Memory) -> bool:
        """Whether a written sequence has memory of its own."""
        state, _ = memory.aliases.get(name, (None, False))
        return name not in memory.sides and f"state {state}" not in self.slot

    def _made_of(self, name: str, shape: tuple[int, ...], fill: int | None = None) -> Made:
        return Made(name, self.slot.get(name), self.like.expand(shape), fill)

    def _part(self, new: bool) -> slice:
        """Which slots of a state are the sequence of its new values, or of its old ones."""
        later = new != self.setting.reverse
        return slice(1, self.setting.steps + 1) if later else slice(self.setting.steps)

    def _sides(
        self, memory: Memory, place: Mapping[str, int]
    ) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for of in memory.widths():
            names = [n for n, part in memory.sides.items() if part.of == of]
            names.sort(key=lambda n: memory.sides[n].span.start)
            yield of, place[of], tuple(names)

    def _views(self, memory: Memory, place: Mapping[str, int]) -> Iterator[View]:
        size, batch = self.dtype.itemsize, self.setting.batch
        for name, part in memory.sides.items():
            if self._is_read(name):
                yield View(self.slot[f"sequence {name}"], place[part.of], part.span.start * size)
        for name, (k, part_of_slots) in self.aliases.items():
            if self._is_read(name):
                slot = batch * self.made[k].like.shape[-1] * size
                yield View(self.slot[f"sequence {name}"], k, (part_of_slots.start or 0) * slot)

    def _products(self) -> Iterator[View]:
        for name, (k, column) in self.before.names.items():
            if self._is_read(name):
                yield View(self.slot[f"sequence {name}"], k, column * self.dtype.itemsize)
