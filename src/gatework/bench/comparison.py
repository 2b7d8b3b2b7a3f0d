"""Side by side: check everyone at each line, then time those that agree, in turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import torch

from gatework.bench.checking import WrongResult, check, truth
from gatework.bench.cost import Cost, cost_of
from gatework.bench.limits import bandwidth, fma_peak
from gatework.bench.peers import CONTESTANTS, OURS, Work
from gatework.bench.problem import KINDS, Kind, Problem, make_problem
from gatework.bench.shapes import QUICK, STREAMED, Shape
from gatework.bench.timing import Pace, Sample, interleaved
from gatework.cells import gru, lstm, rnn
from gatework.lang.definition import Cell
from gatework.train.threads import with_threads

__all__ = ["Entry", "Limits", "Line", "Settings", "compare", "entries"]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        cells: What is run.
        kinds: "inference", "training" and "streaming".
        shapes: The sizes; None for the quick choice and one stream.
        threads: Threads of everyone.
        pace: How long each line is measured.
    """

    cells: tuple[Cell, ...] = (lstm, gru, rnn)
    kinds: tuple[Kind, ...] = ("inference", "training")
    shapes: tuple[Shape, ...] | None = None
    threads: int = 1
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True)
class Entry:
    """One line to be measured."""

    cell: Cell
    shape: Shape
    kind: Kind

    def __str__(self) -> str:
        return f"{self.cell.name} {self.shape} {self.kind}"


@dataclass(frozen=True)
class Line:
    """One line measured, or refused.

    Attributes:
        entry: What was measured.
        cost: The least that a call must do.
        samples: Times by contestant; empty when something was wrong.
        limit: What the share is of: "FMA peak" or "cache bandwidth".
        share: The share of the limit that ours reaches.
        error: Whose result was wrong, and how; None when all agree.
    """

    entry: Entry
    cost: Cost
    samples: dict[str, Sample]
    limit: str
    share: float | None = None
    error: str | None = None

    def ratio(self, name: str) -> float | None:
        """How many times ours someone takes; None for who did not take part."""
        if name not in self.samples:
            return None
        return self.samples[name].median / self.samples[OURS.name].median


class Limits:
    """The processor's limits, measured when they are first asked for.

    Attributes:
        fma: GFLOP/s of multiply-adds.
        bandwidths: GB/s of reads, by the size of the buffer in bytes.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.fma = fma_peak(threads)
        self.bandwidths: dict[int, float] = {}

    def bandwidth(self, size: int) -> float:
        """GB/s of reads from a buffer of some bytes."""
        if size not in self.bandwidths:
            self.bandwidths[size] = bandwidth(size, self.threads)
        return self.bandwidths[size]

    def share(self, cost: Cost, name: str, milliseconds: float) -> float:
        """The share of a limit that a call of such a cost reaches."""
        seconds = milliseconds / 1e3
        if name == "cache bandwidth":
            return cost.bytes / seconds / (1e9 * self.bandwidth(cost.buffer))
        return cost.flops / seconds / (1e9 * self.fma)


def entries(settings: Settings) -> list[Entry]:
    """The lines of some settings: kind by kind, shape by shape, cell by cell.

    Example:
        >>> [str(e) for e in entries(Settings(cells=(gru,), kinds=("streaming",)))]
        ['gru 1,1,64,128 streaming']
    """
    found = []
    for kind in (k for k in KINDS if k in settings.kinds):
        streamed = kind == "streaming"
        shapes = settings.shapes or (STREAMED if streamed else QUICK)
        if streamed:
            shapes = tuple(dict.fromkeys(s._replace(steps=1) for s in shapes))
        found += [Entry(cell, shape, kind) for shape, cell in product(shapes, settings.cells)]
    return found


def compare(settings: Settings, limits: Limits) -> Iterator[Line]:
    """Measure line by line.

    Raises:
        InputError: a cell cannot have such sizes.
    """
    with with_threads(settings.threads):
        for entry in entries(settings):
            yield _line(entry, settings, limits)


def _line(entry: Entry, settings: Settings, limits: Limits) -> Line:
    problem = make_problem(entry.cell, entry.shape, entry.kind)
    cost = cost_of(problem, entry.kind)
    limit = "cache bandwidth" if entry.shape.batch == 1 else "FMA peak"
    with torch.set_grad_enabled(entry.kind == "training"):
        try:
            works = _checked(problem, entry.kind, settings.threads)
        except WrongResult as error:
            return Line(entry, cost, {}, limit, error=str(error))
        samples = interleaved({name: work.call for name, work in works.items()}, settings.pace)
    share = limits.share(cost, limit, samples[OURS.name].median)
    return Line(entry, cost, samples, limit, share)


def _checked(problem: Problem, kind: Kind, threads: int) -> dict[str, Work]:
    """The calls of all that take part, once each has computed the same."""
    expected = truth(problem, kind)
    works = {}
    for contestant in CONTESTANTS:
        if contestant.absence() is None:
            work = contestant.prepare(problem, kind, threads)
            if work is not None:
                check(contestant.name, work.check(), expected)
                works[contestant.name] = work
    return works
