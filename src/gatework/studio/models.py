"""What the studio shows: the models of a run folder, or of a folder made by `gatework compare`.

T  time steps      B  sequences      H  hidden size
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.analysis.gates import named_gates
from gatework.analysis.ranges import Range, ranges
from gatework.data import Corpus
from gatework.errors import InputError
from gatework.lang.axes import has_axes
from gatework.lang.definition import Cell
from gatework.lang.expressions import postorder
from gatework.lang.sizes import Sizes
from gatework.lens.axes import axis_lengths
from gatework.nn.recurrent import State
from gatework.nn.traces import DirectionTrace, LayerTrace
from gatework.studio.rows import Rows
from gatework.studio.words import Worded, picture
from gatework.tasks import SequenceModel
from gatework.tasks.held_out import Judged, Stretch
from gatework.tasks.text.held_out import HeldOutText
from gatework.train import Run
from gatework.train.run import runs_of

__all__ = ["Studied", "directions_of", "open_models"]

MOST_STEPS, MOST_BOTH_WAYS = 200_000, 20_000
"""Longest sequence that is read; of layers that read backward too, which read it as a whole."""
ORDERED_BY = 2_000
"""Held-out steps by which units are put in order."""
MOST_BITS = 10.0
"""Cost of a symbol at which its bar is full."""


@dataclass
class Studied:
    """One model of the studio.

    Attributes:
        name: Unlike that of any other in the studio.
        run: Where it comes from.
        model: In eval mode.
        held_out: What it never learned from; an empty text where its text is no longer on this
            machine.
        cost: What held-out data costs it; None where that was not measured.
        lock: Held by whoever runs it.
    """

    name: str
    run: Run
    model: SequenceModel
    held_out: Judged
    cost: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    # ---- what is shown -------------------------------------------------------------------------

    @property
    def cell(self) -> Cell:
        """The cell, in eval mode."""
        return self.model.layer.eval_cell

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The named values that are shown: gates first, then other values, output and states."""
        cell = self.cell
        reached = set(postorder(cell.results()))
        named = [
            n for n, v in cell.observables().items() if v.args and v in reached and v.size != "1"
        ]
        gates = [n for n in named if n in self.gates]
        others = (n for n in named if n not in gates)
        return (*gates, *others, *reversed(cell.result_names()))

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """The gates that have a name, and so can be held."""
        found = named_gates(self.cell).items()
        return tuple(n for n, v in found if v.size == "hidden" or has_axes(v.size))

    @cached_property
    def scales(self) -> dict[str, str]:
        """How each shown value is drawn: "open", from 0 to 1, or "signed", without bounds."""
        found = {n: self.range_of(n) for n in self.values}
        return {n: "open" if r.low >= 0 and r.high <= 1 else "signed" for n, r in found.items()}

    @cached_property
    def rows(self) -> dict[str, Rows]:
        """How each value is shown: unit by unit, or head by head where there are too many."""
        sizes = self.model.layer.sizes(0)
        found = {n: axis_lengths(self.cell.names[n].size, sizes) for n in self.values}
        return {n: Rows.of(self.units(n), own, self.scales[n]) for n, own in found.items()}

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """What each layer is called, or each direction of one where there are two."""
        names = [f"layer {k}" for k in range(self.model.layer.num_layers)]
        if not self.both_ways:
            return tuple(names)
        return tuple(f"{n}, {way}" for n in names for way in ("forward", "backward"))

    @property
    def both_ways(self) -> bool:
        """Whether the layers read backward too, so that they must see the end first."""
        return self.model.layer.num_directions > 1

    @property
    def limit(self) -> int:
        """Longest sequence that is read."""
        return MOST_BOTH_WAYS if self.both_ways else MOST_STEPS

    def range_of(self, name: str) -> Range:
        """Between which numbers a named value lies."""
        value = self.cell.names[name]
        return ranges([value], {})[value]

    def units(self, name: str) -> int:
        """How many units a named value has."""
        return Sizes.of(self.model.layer.sizes(0))[self.cell.names[name].size]

    # ---- running it ----------------------------------------------------------------------------

    def trace(
        self,
        stretch: Stretch,
        state: State | None = None,
        *,
        names: Sequence[str],
        pins: Mapping[str, float] | None = None,
        lengths: Tensor | None = None,
    ) -> LayerTrace:
        """Read steps, with gates held; whoever calls this has the `lock`.

        A pin becomes a number per unit, so that a slider needs no new machine code.
        """
        model = self.model
        pin = {n: torch.full((self.units(n),), v) for n, v in (pins or {}).items()}
        further = model.further(stretch.more)
        encoded = model.encode(stretch.inputs)
        return model.layer.trace(encoded, state, pin=pin, names=names, lengths=lengths, **further)

    @cached_property
    def orders(self) -> list[NDArray[np.int64]]:
        """For each of `layers`, its units in an order in which those that act alike are near."""
        memory = self.cell.states[-1].name
        rows = self.rows[memory]
        place = self.held_out.passage(ORDERED_BY)
        if rows.axes or place.last <= place.first:  # heads stay together
            return [np.arange(rows.count)] * len(self.layers)
        with self.lock, torch.no_grad():
            trace = self.trace(self.held_out.read(place), names=[memory])
        return [alike(one[memory][:, 0].double().numpy()) for one in directions_of(trace)]

    # ---- telling it ----------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What the page must know of it."""
        task = self.run.task
        return {
            "name": self.name,
            "cell": self.cell.name,
            "doc": self.cell.doc.partition("\n")[0],
            "layers": self.layers,
            "units": self.run.config.hidden_size,
            "parameters": self.run.manifest.parameters,
            "source": self.run.manifest.source,
            "cost": self.cost,
            "unit": task.unit,
            "meaning": task.meaning,
            "most": MOST_BITS if self.reads_text else None,
            "order": [order.tolist() for order in self.orders],
            "values": [self._describe_value(n) for n in self.values],
            "tries": self.worded.tries(),
        }

    @property
    def reads_text(self) -> bool:
        """Whether it can be given a text that is typed."""
        return isinstance(self.held_out, HeldOutText)

    @cached_property
    def worded(self) -> Worded:
        """Words for what is shown."""
        return Worded(self.cell, self.gates, own=self.run.config.equations is not None)

    def _describe_value(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "kind": self.worded.kind(name),
            "units": self.rows[name].count,
            "axes": [[axis, length] for axis, length in self.rows[name].axes.items()],
            "words": self.worded.words(name) + self._aggregated(name),
            "scale": self.scales[name],
        }

    def _aggregated(self, name: str) -> str:
        """What a row stands for, where it is not one unit."""
        rows = self.rows[name]
        if not rows.over:
            return ""
        how = "root mean square" if rows.signed else "mean"
        return f"; {how} over {' and '.join(rows.over)}"

    def picture(self, pins: Mapping[str, float]) -> dict[str, Any]:
        """The cell with gates held: its picture, its equations, and the cell it has become."""
        return picture(self.cell, pins)


def directions_of(trace: LayerTrace) -> list[DirectionTrace]:
    """Return what was traced of each of `Studied.layers`."""
    return [direction for layer in trace.layers for direction in layer]


def alike(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The units of values [T, n] in an order in which neighbours go up and down together.

    Around the circle of their weights in the two strongest principal components.
    """
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    _, _, components = np.linalg.svd(scaled, full_matrices=False)
    first, second = components[0], components[min(1, len(components) - 1)]
    return np.argsort(np.arctan2(second, first), kind="stable")


def open_models(path: Path, *, last: bool = False) -> list[Studied]:
    """Open a run folder, or all the runs in a folder such as `gatework compare` leaves.

    Args:
        path: The folder.
        last: Open the models that the runs ended with, not the best ones.

    Raises:
        InputError: there is no run, or one of them is damaged; or they do not read the same; or
            the sequences that they read are no longer there.
    """
    sources: dict[str, Judged] = {}
    models = []
    for run in runs_of(path):
        model = run.load_model(last=last).eval().requires_grad_(False)
        learned = [run.manifest.sha256, repr(run.config.task), run.manifest.understood]
        key = json.dumps(learned, sort_keys=True)
        if key not in sources:
            sources[key] = _held_out(run)
        name = run.path.resolve().name or run.config.cell
        models.append(Studied(name, run, model, sources[key], _cost(run, last)))
    _check_same(models, path)
    return models


def _held_out(run: Run) -> Judged:
    """What a run is judged by; of a text that is no longer there, none of it."""
    try:
        return run.task.held_out(run.load_source())
    except InputError:
        if run.config.task.kind != "text":
            raise
        return run.task.held_out(Corpus.of(run.manifest.source, b"", b""))


def _check_same(models: Sequence[Studied], path: Path) -> None:
    """Raise where models cannot read side by side: texts can be typed, sequences have to be one."""
    first = models[0]
    for one in models[1:]:
        is_same = one.run.config.task.kind == first.run.config.task.kind and (
            one.held_out.step == first.held_out.step
            if first.reads_text
            else one.run.manifest.sha256 == first.run.manifest.sha256
            and np.array_equal(one.held_out.lengths, first.held_out.lengths)
        )
        if not is_same:
            raise InputError(
                f"runs in {str(path)!r} that read different things: {first.name}, {one.name}",
                "runs of one task on the same data, held out alike",
                f"open one of them: gatework studio {one.run.path}",
            )


def _cost(run: Run, last: bool) -> float | None:
    """What was measured of the model that is shown."""
    if not last and (best := run.best()):
        return best.cost
    records = run.validations()
    return records[-1].cost if records else None
