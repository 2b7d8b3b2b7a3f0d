"""A plan as one function of machine code that every thread runs.

    begin               each thread some rows of the states
    pack the weights    each thread some blocks of units
    before the loop     each thread some of all rows, or units of its own
    the loop            each thread sequences of its own, or units of its own
    end                 each thread some rows of the states
    after the loop      each thread some of all rows, or units of its own
    gradients           each thread some units of the parameters' gradients

Where threads wait for each other is derived from what each phase touches: see `phases`.

Letters: T steps, B sequences, n units, K the length of sums, t a step, k how many ran before it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from gatework.backends.cpu.kernel.gradients import (
    contraction_scratch,
    write_contractions,
    write_summations,
)
from gatework.backends.cpu.kernel.layout import Layout, Panels, lay_out
from gatework.backends.cpu.kernel.phases import LOOP, Waits
from gatework.backends.cpu.kernel.replaying import Replaying
from gatework.backends.cpu.kernel.setting import Setting
from gatework.backends.cpu.kernel.stage import write_stage
from gatework.backends.cpu.kernel.team import Team, share
from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.routines import call_routine
from gatework.backends.cpu.vector.values import Index, Value
from gatework.compiler.passes import When
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH
from gatework.compiler.stepping import Storage

ENTRY = "gatework_run"

Own = tuple[Value, Value]  # which of how many threads that share units this one is
Rows = Value | Callable[[Value], Value]  # how many rows have a step: all of them, or by the step


@dataclass(frozen=True)
class Kernel:
    """A plan lowered for one setting.

    Attributes:
        layout: Where everything lies.
        scratch: Elements of scratch memory that a thread needs.
        ir: The function, as LLVM IR.
    """

    layout: Layout
    scratch: int
    ir: str


def build(plan: Plan, setting: Setting, skip: frozenset[str]) -> Kernel:
    """Lower a plan and write its function."""
    layout = lay_out(plan, setting, skip)
    module = Module()
    for name, one in layout.passes.items():
        for k, stage in enumerate(one.stages):
            write_stage(f"{name}_{k}", module, layout, stage)
    waits = Waits(plan, layout, skip)
    with module.function(ENTRY, [("ptr", "args")], exported=True) as (b, (args,)):
        _Writer(b, layout, args, waits, plan).write(plan, skip)
    chunks = contraction_scratch(setting) if plan.recurrence.contractions else 0
    scratch = max(layout.slots_start(""), chunks)
    return Kernel(layout, scratch, module.text(8 * setting.target.vector_bytes))


class _Writer:
    """Writes the function that every thread runs, phase by phase."""

    def __init__(self, b: Builder, layout: Layout, args: Value, waits: Waits, plan: Plan) -> None:
        self.b, self.layout, self.args, self.waits = b, layout, args, waits
        self.setting, self.element = layout.setting, layout.setting.element
        self.team = Team(b, layout.arguments, args)
        own = b.mul(self.number("scratch size"), self.team.member)
        self.scratch = b.at(self.pointer("scratch"), self.element, own)
        self.replaying = Replaying(b, layout, args, self.scratch, plan)

    def number(self, name: str) -> Value:
        """An argument as an integer."""
        return self.layout.arguments.number(self.b, self.args, name)

    def pointer(self, name: str) -> Value:
        """An argument as an address."""
        return self.layout.arguments.pointer(self.b, self.args, name)

    def write(self, plan: Plan, skip: frozenset[str]) -> None:
        """Every phase that does anything, in order."""
        given = (self.b, self.layout, self.args, self.team)
        writers: dict[str, Callable[[], None]] = {
            "begin": self.begin,
            "pack": self.pack,
            LOOP: self.loop,
            "end": self.end,
            "contractions": lambda: write_contractions(*given, self.scratch, plan, skip),
            "summations": lambda: write_summations(*given, plan, skip),
        }
        for phase in self.waits.order:
            self.wait_before(phase)
            writers.get(phase, partial(self.all_rows, phase))()

    def wait_before(self, phase: str) -> None:
        """Wait for all others where a phase needs it, in the ways to divide the work that do."""
        ways = self.waits.before(phase)
        if len(ways) == 2:
            self.team.barrier()
        for way in ways if len(ways) == 1 else ():
            with self.b.when(self.b.compare("eq", self.number("shared"), int(way))):
                self.team.barrier()

    def unless(self, done: str) -> AbstractContextManager[None]:
        """A block that is left out where the call says that this is done already."""
        return self.b.when(self.b.compare("eq", self.number(done), 0))

    # ---- states --------------------------------------------------------------------------------

    def begin(self) -> None:
        """The initial states into the slots that the first step reads; zero without an address."""
        with self.unless("carried"):
            for name, storage in self.layout.states.items():
                self.begin_one(name, storage)

    def begin_one(self, name: str, storage: Storage) -> None:
        """One of them."""
        b, (first, last) = self.b, self.team.share(self.number("batch"))
        initial, state = self.pointer(f"initial {name}"), self.pointer(f"state {name}")
        given = b.given(initial)
        source = b.select(given, initial, self.pointer("zeros"))
        pitch = b.select(given, b.index(self.units(name)), b.index(0))  # one row for all
        for slot in self.first_slots(storage):
            self.copy(name, source, pitch, 0, state, slot, first, last)

    def first_slots(self, storage: Storage) -> list[Index]:
        """Where a state is read first; a sequence may end before others in either of two slots."""
        match storage:
            case "single":
                return [0]
            case "double":
                return [0, 1] if self.setting.ragged else [0]
            case "trajectory":
                return [self.b.select(self.backwards(), self.number("steps"), self.b.index(0))]

    def end(self) -> None:
        """The final states into memory of their own; those in one slot are there already."""
        with self.unless("carried"):
            for name, storage in self.layout.states.items():
                if storage != "single":
                    self.end_one(name, storage)

    def end_one(self, name: str, storage: Storage) -> None:
        """One of them."""
        b, (first, last) = self.b, self.team.share(self.number("batch"))
        final, state = self.pointer(f"final {name}"), self.pointer(f"state {name}")
        steps, pitch = self.number("steps"), b.index(self.units(name))
        if storage == "trajectory":
            slot = b.select(self.backwards(), b.index(0), steps)
            self.copy(name, state, pitch, slot, final, 0, first, last)
        elif not self.setting.ragged:
            self.copy(name, state, pitch, self.parity(steps), final, 0, first, last)
        else:
            with b.loop(last, start=first) as row:
                slot = self.parity(self.steps_of(row))
                self.copy(name, state, pitch, slot, final, 0, row, b.index(b.add(row, 1)))

    def steps_of(self, row: Value) -> Value:
        """How many steps a sequence has changed its slots in: backwards, all that the call has."""
        b = self.b
        own = b.load(b.at(self.pointer("lengths"), "i64", row), "i64", 8)
        return b.select(self.backwards(), self.number("steps"), own)

    def parity(self, steps: Value) -> Value:
        """The slot of two that is the new one after so many steps."""
        return self.b.binary("and", steps, self.b.index(1))

    def backwards(self) -> Value:
        """Whether the last step is run first."""
        return self.b.compare("ne", self.number("reverse"), 0)

    def copy(
        self, state: str, source: Value, pitch: Value, from_slot: Index, target: Value,
        to_slot: Index, first: Value, last: Value,
    ) -> None:  # fmt: skip
        """Some rows of a slot of a state into another; those of the source are a pitch apart."""
        b, n = self.b, self.b.index(self.units(state))

        def start(base: Value, slot: Index, pitch: Value) -> Value:
            row = b.add(b.mul(self.number("batch"), slot), first)
            return b.at(base, self.element, b.mul(row, pitch))

        to, from_ = start(target, to_slot, n), start(source, from_slot, pitch)
        rows, no = b.index(b.sub(last, first)), Value("false", "i1")
        call_routine(b, "put", to, n, from_, pitch, rows, n, no)

    def units(self, state: str) -> int:
        """The size of a state."""
        return self.setting.sizes[self.layout.state_sizes[state]]

    # ---- weights -------------------------------------------------------------------------------

    def pack(self) -> None:
        """The blocks of every matrix."""
        with self.unless("packed"):
            for panels in self.layout.panels():
                self.pack_one(panels)

    def pack_one(self, panels: Panels) -> None:
        """The blocks of one matrix: those that a thread packs it reads itself if units are shared,
        so that they need not travel from one core's cache to another's."""
        b, count = self.b, self.setting.blocks(panels.outer).count
        room, heads = self.pointer(panels.name), panels.matrix.heads(self.setting.sizes)
        first, last = self.team.share(heads * count)
        with b.loop(last, start=first) as i:
            head: Index = b.div(i, count) if heads > 1 else 0
            s = b.index(b.sub(i, b.mul(head, count)))
            to = b.at(room, self.element, self.layout.panel(panels, s, head, b))
            self.layout.pack(b, self.args, panels, s, to, head)

    # ---- all rows ------------------------------------------------------------------------------

    def either(self, when_shared: Index, when_not: Index) -> Value:
        """One of two numbers, by whether threads share the units of a row."""
        shared = self.b.compare("ne", self.number("shared"), 0)
        return self.b.select(shared, self.b.index(when_shared), self.b.index(when_not))

    def all_rows(self, stage: str) -> None:
        """A stage over all rows: each thread a contiguous share of the rows, or of the units."""
        b, team = self.b, self.team
        total, zero = self.number("row count"), b.index(0)
        first, last = team.share(total)
        rows = b.at(self.pointer("all rows"), "i64", self.either(0, first))
        count = self.either(total, b.sub(last, first))
        member, members = self.either(team.member, 0), self.either(team.size, 1)
        b.call_local(stage, self.args, rows, count, zero, zero, member, members, self.scratch)

    # ---- the loop ------------------------------------------------------------------------------

    def loop(self) -> None:
        """Every part of the batch that falls to this thread, through all steps."""
        b, team, either = self.b, self.team, self.either
        parts = either(1, self.number("parts"))
        with b.loop(parts, start=either(0, team.member), step=either(1, team.size)) as p:
            first, last = share(b, self.number("batch"), p, parts)
            rows = b.at(self.pointer("rows"), "i64", first)
            count = b.index(b.sub(last, first))
            self.steps(rows, count, either(team.member, 0), either(team.size, 1))

    def steps(self, rows: Value, count: Value, member: Value, members: Value) -> None:
        """All steps of some sequences."""
        b, own = self.b, (member, members)
        here = self.active(rows, count) if self.setting.ragged else count
        if self.layout.replays:
            self.stretches(rows, count, here, own)
            return
        with b.loop(self.number("steps")) as i:
            if self.replaying.marks:
                with b.when(b.compare("eq", b.binary("and", i, b.index(STRETCH - 1)), 0)):
                    self.replaying.mark(i, rows, count, lambda row: self.newest(i, row))
            self.step("step", i, rows, here, own)

    def stretches(self, rows: Value, count: Value, here: Rows, own: Own) -> None:
        """All steps backward, stretch by stretch: forward from its mark first, f its forward step.

        The step that is run as the i-th is the last but i of the forward pass.
        """
        b, total = self.b, self.number("steps")
        stretches = b.div(b.add(total, STRETCH - 1), STRETCH)
        with b.loop(stretches) as later:
            begin = b.index(b.mul(b.sub(b.sub(stretches, 1), later), STRETCH))
            end = b.smaller(b.add(begin, STRETCH), total)
            self.replaying.restore(begin, rows, count)
            with b.loop(end, start=begin) as f:
                i = b.index(b.sub(b.sub(total, 1), f))
                run = self.step("replay", i, rows, here, own)
                if self.setting.ragged:
                    self.replaying.hold(f, run, count)
            with b.loop(b.sub(total, begin), start=b.sub(total, end)) as i:
                self.step("step", i, rows, here, own)

    def newest(self, i: Value, row: Value) -> Value:
        """The slot of two that has the state of a sequence before the i-th step."""
        b = self.b
        return self.parity(b.index(b.smaller(i, self.steps_of(row))) if self.setting.ragged else i)

    def step(self, name: When, i: Value, rows: Value, count: Rows, own: Own) -> Value:
        """The stages of a step, the i-th of this call, for the sequences that have it: how many."""
        b, one = self.b, self.layout.passes[name]
        first, stride, phase = (self.number(n) for n in ("first", "stride", "phase"))
        t = b.index(b.add(first, b.mul(i, stride)))
        k = b.index(b.add(i, phase))
        here = count if isinstance(count, Value) else count(t)
        for j in range(len(one.stages)):
            self.wait_before(f"{name}_{j}")
            b.call_local(f"{name}_{j}", self.args, rows, here, t, k, *own, self.scratch)
        return here

    def active(self, rows: Value, count: Value) -> Callable[[Value], Value]:
        """How many of the rows, longest first, have a step t."""
        b, lengths = self.b, self.pointer("lengths")
        total = b.slot("i64", 8)

        def at(t: Value) -> Value:
            b.store(b.index(0), total, 8)
            with b.loop(count) as i:
                row = b.load(b.at(rows, "i64", i), "i64", 8)
                here = b.compare("sgt", b.load(b.at(lengths, "i64", row), "i64", 8), t)
                more = b.op(f"zext i1 {here.text} to i64", "i64")
                b.store(b.index(b.add(b.load(total, "i64", 8), more)), total, 8)
            return b.load(total, "i64", 8)

        return at
