"""What the processor can do at most: multiply-adds from registers, and reads from its caches.

Both are loops of one instruction, written with the CPU backend's own generator for the vectors of
this processor, and run by all threads at once. The best of many short runs counts, so that what
else the machine does lowers it little.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch
from torch import Tensor

from gatework.backends.cpu.machine.jit import Library, compile_object
from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.target import Target, host
from gatework.backends.cpu.vector.values import Value

__all__ = ["bandwidth", "fma_peak"]

PEAK, READ = "gatework_peak", "gatework_read"
STREAMS = 16  # vectors read, or sums kept, side by side
SHORTEST, RUNS = 5e-4, 60  # seconds of a run, short beside a slice of time; how many runs
COUNT, MEMBER, DATA, LENGTH = range(4)  # arguments, i64: rounds, thread, address, bytes


def fma_peak(threads: int) -> float:
    """The most float32 operations a second, in GFLOP/s: a multiply-add counts as two."""
    vector = host().vector("float")
    data = torch.full(((2 + threads) * vector.lanes,), 0.5)
    best = _best(PEAK, data, 0, threads)
    return 2 * vector.lanes * _accumulators(host()) * best / 1e9


def bandwidth(size: int, threads: int) -> float:
    """The most bytes a second read again and again from a buffer, in GB/s.

    Args:
        size: Bytes of the buffer, of which each thread reads its own part.
        threads: How many threads.
    """
    grain = STREAMS * host().vector_bytes
    part = max(1, size // (threads * grain)) * grain
    data = torch.zeros((threads * part + host().vector_bytes * threads) // 4)
    return part * _best(READ, data, part, threads) / 1e9


def _best(name: str, data: Tensor, part: int, threads: int) -> float:
    """Rounds a second of all threads at work together, each in the best of its runs."""
    count = 1
    while _seconds(name, data, part, 0, count) < SHORTEST:
        count *= 2
    start = Barrier(threads)

    def shortest(member: int) -> float:
        start.wait()
        return min(_seconds(name, data, part, member, count) for _ in range(RUNS))

    with ThreadPoolExecutor(threads) as pool:
        return sum(count / seconds for seconds in pool.map(shortest, range(threads)))


def _seconds(name: str, data: Tensor, part: int, member: int, count: int) -> float:
    """The time of one run in this thread."""
    arguments = (ctypes.c_int64 * 4)(count, member, data.data_ptr(), part)
    function = _function(name)
    start = time.perf_counter()
    function(ctypes.addressof(arguments))
    return time.perf_counter() - start


# ---- the two loops -------------------------------------------------------------------------------


@cache
def _library() -> Library:
    target, module = host(), Module()
    for name, write in ((PEAK, _write_peak), (READ, _write_read)):
        with module.function(name, [("ptr", "args")], exported=True) as (b, (args,)):
            write(b, args, target)
    image = compile_object(module.text(8 * target.vector_bytes), target)
    return Library(image, (PEAK, READ))


def _function(name: str) -> Callable[[int], None]:
    """A loop as Python calls it, without holding the interpreter's lock."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_library().address(name))


def _accumulators(target: Target) -> int:
    """Sums that fit into the registers beside the two factors: enough to hide the latency."""
    return target.tile_rows * target.tile_vectors


def _write_peak(b: Builder, args: Value, target: Target) -> None:
    """Multiply-adds that depend on nothing but the one before, in as many chains as fit."""
    vector = target.vector("float")
    count, member, data = _start(b, args)
    factor, term = (b.load(b.at(data, "float", k * vector.lanes), vector.type) for k in (0, 1))
    slots = [b.slot(vector.type) for _ in range(_accumulators(target))]
    for slot in slots:
        b.store(term, slot, 64)
    with b.loop(count):
        for slot in slots:
            b.store(b.fma(b.load(slot, vector.type, 64), factor, term), slot, 64)
    place = b.mul(b.add(member, 2), vector.lanes)
    _finish(b, slots, vector.type, b.at(data, "float", place))


def _write_read(b: Builder, args: Value, target: Target) -> None:
    """Reads of this thread's part of the buffer, each added to one of several sums."""
    vector = target.vector("float")
    count, member, data = _start(b, args)
    part = b.div(b.load(b.at(args, "i64", LENGTH), "i64", 8), 4)
    start = b.add(b.mul(member, part), b.mul(member, vector.lanes))
    first = b.at(data, "float", start)
    slots = [b.slot(vector.type) for _ in range(STREAMS)]
    for slot in slots:
        b.store(vector.const(0.0), slot, 64)
    with b.loop(count), b.loop(part, step=STREAMS * vector.lanes) as i:
        for k, slot in enumerate(slots):
            read = b.load(b.at(first, "float", b.add(i, k * vector.lanes)), vector.type)
            b.store(b.fadd(b.load(slot, vector.type, 64), read), slot, 64)
    _finish(b, slots, vector.type, b.at(first, "float", part))


def _start(b: Builder, args: Value) -> tuple[Value, Value, Value]:
    """The number of rounds, this thread's number, the data."""
    count = b.load(b.at(args, "i64", COUNT), "i64", 8)
    member = b.load(b.at(args, "i64", MEMBER), "i64", 8)
    return count, member, b.load(b.at(args, "i64", DATA), "ptr", 8)


def _finish(b: Builder, slots: list[Value], type_: str, place: Value) -> None:
    """Write the sum of all sums, so that none is left out as unused."""
    total = b.load(slots[0], type_, 64)
    for slot in slots[1:]:
        total = b.fadd(total, b.load(slot, type_, 64))
    b.store(total, place)
