"""Everything the lens can tell of a trained model, measured on its held-out text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.data import Character, Corpus, characters_of
from gatework.errors import InputError
from gatework.lens import (
    Ablation,
    FoundUnits,
    GradientFlow,
    MemoryHorizon,
    Passage,
    Peaks,
    Retention,
    RetentionMeter,
    Saturation,
    SaturationMeter,
    TrackingUnit,
    UnitMeter,
    ablate,
    carry_state,
    find_peaks,
    gradient_flow,
    label_text,
    measure,
)
from gatework.lens.properties import TEXT_PROPERTIES, Property, inside_quotes
from gatework.reports.held_out import (
    ANCHORS_AT_ONCE,
    horizon_of,
    passage_of,
    sequences_at_once,
    stretches,
)
from gatework.tasks import Task
from gatework.tasks.text.evaluation import bits_per_symbol
from gatework.tasks.text.model import LanguageModel
from gatework.tasks.text.task import TextTask
from gatework.train.records import Record, curve
from gatework.train.run import Run

__all__ = ["LEAST_HELD_OUT", "Inspection", "check_inspectable", "inspect_run", "occurring"]

MOST_BYTES = 1 << 18
"""Held-out bytes read for saturation, retention and units; their first, where there are more."""
LEAST_HELD_OUT = 64
"""Held-out bytes without which nothing can be measured."""
WINDOW, MOST_STREAMS = 256, 32
ABLATION_BYTES = 16_384
"""Held-out bytes on which the cost with each gate held is measured."""
FLOW_STEPS, FLOW_SEQUENCES = 100, 32
"""Steps back and sequences over which the gradient is followed; fewer with states of many units."""
FLOW_COPIES = 8
"""Rows of the length of a state that autograd keeps of a step, roughly."""
SHOWN_UNITS, LEAST_TRACKED = 4, 0.3
"""How many units are shown with passages; the held-out |r| that is worth showing."""

Told = Callable[[str], None]
"""Told what is being measured."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """One trained model, measured.

    Attributes:
        name: of the run.
        run: where the model comes from.
        corpus: its text.
        records: its learning curve.
        cost: of held-out data, in the task's unit.
        passage: gates and states along a passage.
        horizon: how far back inputs are felt.
        flow: how the gradient of the last step's scores goes back.
        retention: how long states keep what is stored.
        saturation: how often gates are all but open or closed.
        units: how well units track properties of the text.
        tracking: of each property, the unit that tracks it best, where one does.
        peaks: passages on which those units are most active.
        ablation: cost with each gate held open or closed; None for a cell without gates.
    """

    name: str
    run: Run
    corpus: Corpus
    records: tuple[Record, ...]
    cost: float
    passage: Passage
    horizon: MemoryHorizon
    flow: GradientFlow
    retention: Retention
    saturation: Saturation
    units: FoundUnits
    tracking: Mapping[str, TrackingUnit]
    peaks: Peaks | None
    ablation: Ablation | None

    @property
    def task(self) -> Task:
        """What it learned."""
        return self.run.task

    def peak_passage(self, unit: int, rank: int) -> tuple[Character, ...]:
        """The characters of a passage of `peaks`; text around it tells what stands at its ends."""
        assert self.peaks is not None
        text = _read_text(self.corpus)
        batch, sequence, step = (
            int(place[unit, rank])
            for place in (self.peaks.batch, self.peaks.sequence, self.peaks.step)
        )
        # of the window in which the peak is
        start = sequence * _stretch(text) + batch * _window(text)
        shown = np.flatnonzero(self.peaks.symbols[unit, rank] >= 0) - self.peaks.before + step
        return characters_of(text, start + int(shown[0]), start + int(shown[-1]) + 1)


def inspect_run(run: Run, told: Told = lambda what: None, *, last: bool = False) -> Inspection:
    """Measure the model of a run on its held-out text.

    Args:
        run: a finished run, whose text is still there.
        told: told what is being measured.
        last: measure the model that the run ended with, not the best one.

    Raises:
        InputError: the text is gone or has changed, or too little of it is held out.
    """
    corpus = check_inspectable(run)
    model = cast(LanguageModel, run.load_model(last=last).eval())
    valid = corpus.valid[:MOST_BYTES]
    cost = bits_per_symbol(model, valid)
    if not math.isfinite(cost):
        raise InputError(
            f"the model of {str(run.path)!r} predicts {cost}: its weights are out of all bounds",
            "a model whose predictions are numbers",
            "train again, with a smaller learning rate",
        )
    told("gates, retention, units")
    saturation, retention, units = _read_through(model, corpus)
    tracking = _tracking(units)
    told("passages")
    peaks = _peaks(model, corpus, list(tracking.values()))
    told("memory horizon")
    horizon = horizon_of(model, corpus)
    told("gradient flow")
    flow = gradient_flow(model, _flow_batches(model, corpus))
    told("gates held")
    ablation = (
        ablate(model, lambda changed: bits_per_symbol(changed, valid, ABLATION_BYTES))  # type: ignore[arg-type]
        if saturation.gates
        else None
    )
    return Inspection(
        name=run.path.resolve().name,
        run=run,
        corpus=corpus,
        records=tuple(curve(run.records(), "valid")),
        cost=cost,
        passage=passage_of(model, corpus),
        horizon=horizon,
        flow=flow,
        retention=retention,
        saturation=saturation,
        units=units,
        tracking=tracking,
        peaks=peaks,
        ablation=ablation,
    )


def check_inspectable(run: Run) -> Corpus:
    """Return the text of a run if it can be inspected on it.

    Raises:
        InputError: the text is gone or has changed, or hardly anything of it is held out.
    """
    if not isinstance(run.task, TextTask) or not run.task.of_bytes:
        raise InputError(
            f"{str(run.path)!r}, a run of the task {run.config.task.kind!r}",
            "a run that has learned the bytes of a text",
            f"measure it with: gatework evaluate {run.path}",
        )
    corpus = cast(Corpus, run.load_source())
    if len(corpus.valid) < LEAST_HELD_OUT:
        raise InputError(
            f"{len(corpus.valid):,} held-out bytes in the run {str(run.path)!r}",
            f"at least {LEAST_HELD_OUT}, to choose units on one half and judge them on the other",
            f"train on a text of {10 * LEAST_HELD_OUT:,} bytes or more",
        )
    return corpus


def _read_through(model: LanguageModel, corpus: Corpus) -> tuple[Saturation, Retention, FoundUnits]:
    """The measurements that one reading of the text gives."""
    carried = carry_state()
    found = measure(
        model,
        _labelled(corpus),
        SaturationMeter(),
        RetentionMeter(),
        UnitMeter(),
        run=lambda model, batch: carried(model, batch[0]),
    )
    saturation, retention, units = found
    return saturation, retention, units


def _labelled(corpus: Corpus) -> Iterator[tuple[Tensor, dict[str, NDArray[np.float32]]]]:
    text = _read_text(corpus)
    return label_text(text, _properties(corpus), streams=_streams(text), window=_window(text))


def _read_text(corpus: Corpus) -> bytes:
    return bytes(corpus.valid[:MOST_BYTES].tolist())


def _streams(text: bytes) -> int:
    return max(1, min(MOST_STREAMS, len(text) // (8 * WINDOW)))


def _window(text: bytes) -> int:
    return min(WINDOW, len(text) // 2)  # two of them at least


def _stretch(text: bytes) -> int:
    """Bytes that each stream reads, as `label_text` divides the text."""
    return len(text) // _streams(text) // _window(text) * _window(text)


def _properties(corpus: Corpus) -> Mapping[str, Property]:
    """What to look for: strings of source code, or quotations of prose."""
    if ".py" in corpus.name or "Python" in corpus.name:
        return TEXT_PROPERTIES
    others = {n: p for n, p in TEXT_PROPERTIES.items() if n != "inside a string"}
    return {"inside quotes": inside_quotes, **others}


def _tracking(units: FoundUnits) -> dict[str, TrackingUnit]:
    """Of each property the unit that tracks it best, if it does on the held-out half too."""
    best = {name: units.best(name, 1)[0] for name in occurring(units)}
    return {n: u for n, u in best.items() if abs(u.held_out) >= LEAST_TRACKED}


def occurring(units: FoundUnits) -> tuple[str, ...]:
    """The properties that are not the same at every place of the text that units are chosen on."""
    return tuple(
        name
        for p, name in enumerate(units.properties)
        if any(r[p].any() for r in units.correlation.values())
    )


def _peaks(model: LanguageModel, corpus: Corpus, units: list[TrackingUnit]) -> Peaks | None:
    if not units:
        return None
    carried = carry_state()

    def run(model: Any, batch: Any) -> Any:
        return carried(model, batch)

    batches = (inputs for inputs, _ in _labelled(corpus))
    return find_peaks(model, batches, units[:SHOWN_UNITS], count=5, before=48, after=12, run=run)


def _flow_batches(model: LanguageModel, corpus: Corpus) -> Iterator[Tensor]:
    steps = min(FLOW_STEPS, len(corpus.valid) // 2)
    count = sequences_at_once(model, steps, FLOW_SEQUENCES, FLOW_COPIES)
    batch = next(stretches(corpus, steps, ANCHORS_AT_ONCE))  # [T, ≤128]
    return iter([batch[:, :: max(1, -(-batch.shape[1] // count))]])
