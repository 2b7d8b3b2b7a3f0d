"""Calls on a card that can be timed from here: several at once, and as a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from gatework.bench.timing import Pace, Sample, interleaved

__all__ = ["replayed", "timed"]

Call = Callable[[], object]
WARM_UPS = 3  # calls before a graph is captured, so that nothing is new in it
AT_ONCE = 2e-3  # seconds that the card works before it is waited for, so that waiting costs little
MOST_AT_ONCE = 1000


def replayed(call: Call) -> Call | None:
    """A call as a CUDA graph, which leaves out the host; None where it cannot be captured."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:  # what it does is not allowed while a graph is captured
        torch.cuda.synchronize()
        return None
    return graph.replay


def timed(calls: dict[str, Call], pace: Pace, synchronise: Callable[[], None]) -> dict[str, Sample]:
    """The times of calls, in turns, the card waited for at the end of several.

    Args:
        calls: What is timed, by name; each was called before.
        pace: How long turns are.
        synchronise: Waits for all that the card was given.
    """
    counts = {name: _count(call, synchronise) for name, call in calls.items()}

    def several(name: str) -> Call:
        def run() -> None:
            for _ in range(counts[name]):
                calls[name]()
            synchronise()

        return run

    samples = interleaved({name: several(name) for name in calls}, pace)
    return {name: _each(sample, counts[name]) for name, sample in samples.items()}


def _count(call: Call, synchronise: Callable[[], None]) -> int:
    """How many calls keep the card at work for long enough."""
    synchronise()
    start = time.perf_counter()
    call()
    synchronise()
    seconds = max(time.perf_counter() - start, 1e-7)
    return max(1, min(MOST_AT_ONCE, round(AT_ONCE / seconds)))


def _each(sample: Sample, count: int) -> Sample:
    """The times of one call, of those of several."""
    return replace(
        sample,
        median=sample.median / count,
        lower=sample.lower / count,
        upper=sample.upper / count,
        calls=sample.calls * count,
        turns=tuple(turn / count for turn in sample.turns),
    )
