"""The threads that run one kernel together: who am I, how many are we, wait for all.

The state of the barrier lies in the call's own arguments, so calls from several Python threads
know nothing of each other.
"""

from __future__ import annotations

import platform

from gatework.backends.cpu.kernel.setting import Arguments
from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.values import Index, Value

PATIENCE = 1_000  # looks at the barrier before the processor is offered to others


class Team:
    """Writes what a kernel's threads need to know about each other."""

    def __init__(self, b: Builder, arguments: Arguments, args: Value) -> None:
        self.b = b
        ticket = b.at(args, "i64", arguments.index("ticket"))
        self.arrivals = b.at(args, "i64", arguments.index("barrier"))
        self.member = b.op(f"atomicrmw add ptr {ticket.text}, i64 1 monotonic", "i64")
        self.size = self._size(arguments, args)
        self._expected = b.slot("i64", 8)
        b.store(b.index(0), self._expected, 8)

    def _size(self, arguments: Arguments, args: Value) -> Value:
        """The number of threads: asked of OpenMP, which may give fewer than were wanted."""
        b = self.b
        size = b.slot("i64", 8)
        b.store(arguments.number(b, args, "threads"), size, 8)
        ask = arguments.pointer(b, args, "team")
        with b.when(b.given(ask)):
            threads = b.op(f"call i32 {ask.text}()", "i32")
            b.store(b.op(f"sext i32 {threads.text} to i64", "i64"), size, 8)
        return b.load(size, "i64", 8)

    def share(self, total: Index) -> tuple[Value, Value]:
        """Where this thread's part of a total starts and ends."""
        return share(self.b, total, self.member, self.size)

    def barrier(self) -> None:
        """Wait until every thread has come here."""
        b = self.b
        target = b.index(b.add(b.load(self._expected, "i64", 8), self.size))
        b.store(target, self._expected, 8)
        b.op(f"atomicrmw add ptr {self.arrivals.text}, i64 1 acq_rel", "i64")
        looks = b.slot("i64", 8)
        b.store(b.index(0), looks, 8)
        with b.repeat() as repeat:
            seen = b.index(b.add(b.load(looks, "i64", 8), 1))
            b.store(seen, looks, 8)
            self._rest()
            with b.when(b.compare("sgt", seen, PATIENCE)):
                b.call("sched_yield", "i32")
            arrived = b.op(f"load atomic i64, ptr {self.arrivals.text} acquire, align 8", "i64")
            repeat.leave = b.compare("sge", arrived, target)

    def _rest(self) -> None:
        """Tell the processor that this is a loop that waits."""
        if platform.machine() in ("x86_64", "AMD64"):
            self.b.module.declare("llvm.x86.sse2.pause", "void", [])
            self.b.do("call void @llvm.x86.sse2.pause()")


def share(b: Builder, total: Index, part: Index, parts: Index) -> tuple[Value, Value]:
    """Where one of some nearly equal parts of a total starts and ends."""
    first, last = (b.index(b.div(b.mul(b.add(part, more), total), parts)) for more in (0, 1))
    return first, last
