"""Calls that take turns, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Pace", "Sample", "interleaved"]

Call = Callable[[], object]


@dataclass(frozen=True)
class Pace:
    """How long turns are, in seconds.

    Attributes:
        total: For one comparison, all that take part together.
        turn: The turn of one; at least one call.
        rest: Before a turn, so that no thread of the one before still waits for work.
        rounds: Turns of each at least; two, where that would take five times the total.
        grain: The shortest time that is taken; shorter calls are taken several together.
    """

    total: float = 1.0
    turn: float = 0.02
    rest: float = 0.01
    rounds: int = 5
    grain: float = 1e-4


@dataclass(frozen=True)
class Sample:
    """The time of one kind of call, in milliseconds."""

    median: float
    lower: float
    upper: float
    calls: int
    turns: tuple[float, ...]
    """The median of each turn, in order."""

    @classmethod
    def of(cls, turns: list[list[float]], grain: int) -> Sample:
        """Medians and quartiles of times taken turn by turn, `grain` calls each."""
        times = [t for turn in turns for t in turn]
        cuts = statistics.quantiles(times, method="inclusive") if len(times) > 1 else times * 3
        medians = tuple(statistics.median(turn) for turn in turns)
        return cls(cuts[1], cuts[0], cuts[2], grain * len(times), medians)


def interleaved(calls: Mapping[str, Call], pace: Pace) -> dict[str, Sample]:
    """Time calls in turns, in alternating order.

    Args:
        calls: What is timed, by name; each was called before, so that nothing is new.
        pace: How long turns are.

    Example:
        >>> pace = Pace(total=0, turn=0, rest=0, rounds=1)
        >>> interleaved({"nothing": lambda: None}, pace)["nothing"].calls > 0
        True
    """
    grains = {name: _grain(call, pace) for name, call in calls.items()}
    turns: dict[str, list[list[float]]] = {name: [] for name in calls}
    start = time.perf_counter()
    names = list(calls)
    with _no_collection():
        while _goes_on(len(turns[names[0]]), time.perf_counter() - start, pace):
            for name in names:
                turns[name].append(_turn(calls[name], grains[name], pace))
            names.reverse()
    return {name: Sample.of(turns[name], grains[name]) for name in calls}


def _goes_on(rounds: int, seconds: float, pace: Pace) -> bool:
    enough = min(2, pace.rounds) if seconds > 5 * pace.total else pace.rounds
    return rounds < enough or seconds < pace.total


def _grain(call: Call, pace: Pace) -> int:
    """How many calls are timed together."""
    grain = 1
    while _time(call, grain) * grain < 1e3 * pace.grain and grain < 1000:
        grain *= 2
    return grain


def _turn(call: Call, grain: int, pace: Pace) -> list[float]:
    """The times of one turn; short calls are made a few times first, to wake threads and caches."""
    time.sleep(pace.rest)
    start = time.perf_counter()
    times = [_time(call, grain)]
    awake, end = start + pace.turn / 4, start + pace.turn
    if time.perf_counter() < awake:  # else it is too long to be told by how it began
        while time.perf_counter() < awake:
            call()
        times = [_time(call, grain)]
    while time.perf_counter() < end:
        times.append(_time(call, grain))
    return times


def _time(call: Call, grain: int) -> float:
    """Milliseconds of a call, the mean of a few."""
    start = time.perf_counter()
    for _ in range(grain):
        call()
    return 1e3 * (time.perf_counter() - start) / grain


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's garbage collector rests meanwhile, as in timeit."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
