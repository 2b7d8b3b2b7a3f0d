"""Side by side on a card: check everyone at each line, then time those that are right, in turns."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

import torch

from gatework.bench.checking import WrongResult, truth
from gatework.bench.gpu.calls import Call, replayed, timed
from gatework.bench.gpu.precision import PRECISIONS, Precision, worst_error
from gatework.bench.peers import OURS, Contestant, Work
from gatework.bench.peers.python_loop import PythonLoop
from gatework.bench.peers.torch_nn import TorchNn
from gatework.bench.peers.torchrecurrent import TorchRecurrent
from gatework.bench.problem import Kind, Named, Problem, make_problem
from gatework.bench.shapes import Shape
from gatework.bench.timing import Pace, Sample
from gatework.cells import gru, lstm, peephole_lstm
from gatework.lang.definition import Cell

__all__ = [
    "CONTESTANTS",
    "SHAPES",
    "WAYS",
    "Entry",
    "Line",
    "Settings",
    "Way",
    "compare",
    "entries",
]

Way = Literal["graph", "eager"]
WAYS: tuple[Way, ...] = ("graph", "eager")
"""How a call is made: as a replay of a CUDA graph, which leaves out the host, or by Python."""
CONTESTANTS: tuple[Contestant, ...] = (OURS, TorchNn(), PythonLoop(), TorchRecurrent())
SHAPES = (
    Shape(16, 1024, 768, 768),
    Shape(8, 512, 128, 128),
    Shape(1, 256, 256, 256),
    Shape(64, 256, 512, 512),
    Shape(64, 128, 1024, 1024),
    Shape(32, 256, 300, 300),
)
"""From one sequence to large batches; the last one's units fill no tile."""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        device: The card; the CPU has no graphs.
        cells: What is run.
        kinds: "inference" and "training".
        precisions: In what numbers.
        shapes: The sizes.
        ways: How calls are made.
        contestants: Who takes part, ours first.
        pace: How long each line is measured.
        seconds: After how long no further line is begun; None for all lines.
    """

    device: torch.device
    cells: tuple[Cell, ...] = (lstm, gru, peephole_lstm)
    kinds: tuple[Kind, ...] = ("inference", "training")
    precisions: tuple[Precision, ...] = tuple(PRECISIONS.values())
    shapes: tuple[Shape, ...] = SHAPES
    ways: tuple[Way, ...] = WAYS
    contestants: tuple[Contestant, ...] = CONTESTANTS
    pace: Pace = field(default_factory=lambda: Pace(total=0.2, turn=0.01, rest=0.001))
    seconds: float | None = None


@dataclass(frozen=True)
class Entry:
    """What one line measures, in each way."""

    cell: Cell
    shape: Shape
    precision: Precision
    kind: Kind

    def __str__(self) -> str:
        return f"{self.cell.name} {self.shape} {self.precision.name} {self.kind}"


@dataclass(frozen=True)
class Line:
    """One line measured, or refused.

    Attributes:
        entry: What was measured.
        samples: Times by way and contestant; empty when ours was wrong.
        errors: The largest relative error of each contestant.
        wrong: Who was left out because of a wrong result, and how wrong.
        first: Seconds of our first call, in which the kernels are compiled or found on disk.
    """

    entry: Entry
    samples: dict[Way, dict[str, Sample]]
    errors: dict[str, float]
    wrong: dict[str, str]
    first: float

    def microseconds(self, way: Way, name: str) -> float | None:
        """Of a step; None for who did not take part."""
        sample = self.samples.get(way, {}).get(name)
        return None if sample is None else 1e3 * sample.median / self.entry.shape.steps

    def ratio(self, way: Way, name: str) -> float | None:
        """How many times ours someone takes; None for who did not take part."""
        own, other = self.microseconds(way, OURS.name), self.microseconds(way, name)
        return None if own is None or other is None else other / own


def entries(settings: Settings) -> list[Entry]:
    """The lines of some settings: shape by shape, cell by cell.

    Example:
        >>> settings = Settings(torch.device("cpu"), kinds=("training",))
        >>> str(entries(settings)[0])
        'lstm 16,1024,768,768 fp32 training'
    """
    chosen = product(settings.shapes, settings.cells, settings.precisions, settings.kinds)
    return [Entry(cell, shape, precision, kind) for shape, cell, precision, kind in chosen]


def compare(settings: Settings) -> Iterator[Line]:
    """Measure line by line, until all are measured or the time is over.

    Raises:
        InputError: a cell cannot have such sizes.
    """
    start = time.perf_counter()
    for entry in entries(settings):
        if settings.seconds is not None and time.perf_counter() - start > settings.seconds:
            return
        yield measured(entry, settings)


def measured(entry: Entry, settings: Settings) -> Line:
    """One line."""
    training = entry.kind == "training"
    with entry.precision.allowed(), torch.set_grad_enabled(training):
        problem = moved(
            make_problem(entry.cell, entry.shape, entry.kind), entry.precision, settings.device
        )
        line, calls = _checked(entry, problem, settings.contestants)
        if OURS.name in calls:
            for way in settings.ways:
                line.samples[way] = _timed(calls, way, settings)
        return line


def moved(problem: Problem, precision: Precision, device: torch.device) -> Problem:
    """The problem on a card, rounded to the numbers that are computed in."""
    dtype = precision.dtype
    layer = copy.deepcopy(problem.layer).to(device, dtype)
    x = problem.x.detach().to(device, dtype).requires_grad_(problem.x.requires_grad)
    return replace(problem, layer=layer, x=x, dy=problem.dy.to(device, dtype))


def _checked(
    entry: Entry, problem: Problem, contestants: tuple[Contestant, ...]
) -> tuple[Line, dict[str, Call]]:
    """A line without times, and the calls of those whose results are right."""
    expected = truth(problem, entry.kind)
    line, calls = Line(entry, {}, {}, {}, 0.0), {}
    for contestant in contestants:
        if contestant.absence() is None:
            start = time.perf_counter()
            work = contestant.prepare(problem, entry.kind, torch.get_num_threads())
            if work is not None and _right(line, contestant.name, work, expected):
                calls[contestant.name] = work.call
            if contestant is OURS:
                line = replace(line, first=time.perf_counter() - start)
    return line, calls


def _right(line: Line, name: str, work: Work, expected: Named) -> bool:
    """Whether someone's results are right; what is found is noted in the line."""
    allowed = line.entry.precision.tolerance
    try:
        error = line.errors[name] = worst_error(work.check(), expected)
    except WrongResult as wrong:
        line.wrong[name] = str(wrong)
        return False
    if not error <= allowed:
        line.wrong[name] = f"a relative error of {error:.1e}, allowed is {allowed:g}"
    return error <= allowed


def _timed(calls: dict[str, Call], way: Way, settings: Settings) -> dict[str, Sample]:
    """The times in one way; of a graph, of those that can be captured."""
    cuda = settings.device.type == "cuda"
    if way == "graph":
        graphs = {name: replayed(call) for name, call in calls.items()} if cuda else {}
        calls = {name: graph for name, graph in graphs.items() if graph is not None}
    if not calls:
        return {}
    return timed(calls, settings.pace, torch.cuda.synchronize if cuda else lambda: None)
