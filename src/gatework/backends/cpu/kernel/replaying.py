"""States that the forward pass marks, and that the backward pass computes again from the marks.

A marked sequence has a row of every `STRETCH`-th step. The backward pass takes the mark of a
stretch into the first slot of its own memory, from which each step forward fills the next one.

Letters: T steps, B sequences, n units of a row, i how many steps were run before.
"""

from __future__ import annotations

from collections.abc import Callable

from gatework.backends.cpu.kernel.layout import Layout
from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.routines import call_routine
from gatework.backends.cpu.vector.values import Index, Value
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH


class Replaying:
    """Writes the copies between states, marks and slots, for some listed rows of the batch."""

    def __init__(self, b: Builder, layout: Layout, args: Value, scratch: Value, plan: Plan) -> None:
        self.b, self.layout, self.args, self.scratch = b, layout, args, scratch
        self.element, self.sizes = layout.setting.element, layout.setting.sizes
        self.batch = layout.arguments.number(b, args, "batch")
        marked = plan.recurrence.marked
        self.marks = {n: v for n, v in plan.written.items() if n in marked}

    def mark(self, i: Value, rows: Value, count: Value, slot: Callable[[Value], Index]) -> None:
        """Copy states to the mark of this step, those of sequences that are over as well.

        `slot` gives which of two slots holds a row's state.
        """
        b = self.b
        for name, state in self.marks.items():
            storage = self.layout.states[state.name]
            with b.loop(count) as at:
                row = b.load(b.at(rows, "i64", at), "i64", 8)
                old = slot(row) if storage == "double" else 0
                source = self.row(f"state {state.name}", old, row, state.size)
                mark = self.row(f"sequence {name}", b.div(i, STRETCH), row, state.size)
                self.copy(mark, source, 1, state.size)

    def restore(self, i: Value, rows: Value, count: Value) -> None:
        """Copy the mark of step i into the first slots."""
        b = self.b
        for replay in self.layout.replays:
            size = replay.state.size
            with b.loop(count) as at:
                row = b.load(b.at(rows, "i64", at), "i64", 8)
                mark = self.row(f"sequence {replay.marks}", b.div(i, STRETCH), row, size)
                self.copy(self.slot(replay.state.name, 0, at), mark, 1, size)

    def hold(self, i: Value, first: Value, count: Value) -> None:
        """Copy the slots of the rows that have no step i to the next, where each is needed later.

        These are the last ones of the part, from `first` on.
        """
        b = self.b
        at = b.binary("and", i, b.index(STRETCH - 1))
        for replay in self.layout.replays:
            old, new = (self.slot(replay.state.name, b.add(at, more), first) for more in (0, 1))
            self.copy(new, old, b.sub(count, first), replay.state.size)

    def row(self, argument: str, slot: Index, row: Value, size: str) -> Value:
        """The address of a row [slots, B, n]."""
        b = self.b
        at = b.mul(b.add(b.mul(self.batch, slot), row), self.sizes[size])
        return b.at(self.layout.arguments.pointer(b, self.args, argument), self.element, at)

    def slot(self, state: str, slot: Index, position: Value) -> Value:
        """The address of a row in a slot of a replayed state."""
        b, layout = self.b, self.layout
        (replay,) = (r for r in layout.replays if r.state.name == state)
        begin = b.add(b.mul(slot, layout.slot(replay)), layout.slots_start(state))
        at = b.add(begin, b.mul(position, self.sizes[replay.state.size]))
        return b.at(self.scratch, self.element, at)

    def copy(self, to: Value, source: Value, rows: Index, size: str) -> None:
        """Copy rows that lie one after the other."""
        b, n = self.b, self.b.index(self.sizes[size])
        call_routine(b, "put", to, n, source, n, b.index(rows), n, Value("false", "i1"))
