"""Everything the lens can tell of a trained model, measured on its held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gatework.errors import InputError
from gatework.lens import (
    Ablation,
    FoundUnits,
    GradientFlow,
    MemoryHorizon,
    Peaks,
    Retention,
    RetentionMeter,
    Saturation,
    SaturationMeter,
    TrackingUnit,
    UnitMeter,
    ablate,
    find_peaks,
    gradient_flow,
    measure,
)
from gatework.reports.held_out import (
    ANCHORS_AT_ONCE,
    Shown,
    check_held_out,
    horizon_of,
    passage_of,
    sequences_at_once,
    span_of,
    spread_places,
)
from gatework.reports.subject import Read, Subject, subject_of_run
from gatework.reports.windows import Window, batches, carried, windows_of
from gatework.tasks import Evaluation
from gatework.tasks.held_out import Place, Track
from gatework.train.run import Run

__all__ = ["Inspection", "check_inspectable", "inspect", "inspect_run", "occurring"]

FLOW_STEPS, FLOW_SEQUENCES = 100, 32
"""Steps back and sequences over which the gradient is followed; fewer with states of many units."""
FLOW_COPIES = 8
"""Rows of the length of a state that autograd keeps of a step, roughly."""
SHOWN_UNITS, LEAST_TRACKED = 4, 0.3
"""How many units are shown with passages; the held-out |r| that is worth showing."""
PEAKS, BEFORE, AFTER = 5, 48, 12
"""Passages for each of these units; the steps of one that stand before the peak and after it."""

Told = Callable[[str], None]
"""Told what is being measured."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """One trained model, measured.

    Attributes:
        name: of the model.
        subject: the model, and the data that it was measured on.
        evaluation: how well it does; the cost is NaN where nothing is known to be predicted.
        passage: gates and states along a passage.
        horizon: how far back inputs are felt.
        flow: how the gradient of what is said after the last step goes back.
        retention: how long states keep what is stored.
        saturation: how often gates are all but open or closed.
        units: how well units track properties of the data.
        tracking: of the properties that are tracked best, the unit that does.
        windows: what was read for these.
        peaks: passages on which those units are most active.
        ablation: cost with each gate held open or closed; None for a cell without gates, and where
            there is no cost.
    """

    name: str
    subject: Subject
    evaluation: Evaluation
    passage: Shown
    horizon: MemoryHorizon
    flow: GradientFlow
    retention: Retention
    saturation: Saturation
    units: FoundUnits
    tracking: Mapping[str, TrackingUnit]
    windows: tuple[Window, ...]
    peaks: Peaks | None
    ablation: Ablation | None

    @property
    def cost(self) -> float:
        """Of held-out data, in the unit of its task."""
        return self.evaluation.cost

    @property
    def step(self) -> str:
        """What a step is called."""
        return self.subject.held_out.step

    @property
    def flow_steps(self) -> int:
        """Over how many steps the gradient was followed."""
        return len(next(iter(self.flow.norms.values())).T)

    def peak_place(self, unit: int, rank: int) -> Place | None:
        """The steps of a passage of `peaks`; None where there are not so many."""
        assert self.peaks is not None
        shown = np.flatnonzero(~np.isnan(self.peaks.around[unit, rank]))
        if not len(shown):
            return None
        window = self.windows[int(self.peaks.batch[unit, rank])]
        sequence, first, _ = window.places[int(self.peaks.sequence[unit, rank])]
        peak = first + int(self.peaks.step[unit, rank])
        begin, end = (int(k) - self.peaks.before + peak for k in (shown[0], shown[-1] + 1))
        return Place(sequence, begin, end)

    def peak_track(self, unit: int, rank: int) -> Track | None:
        """What stands on a passage of `peaks`; None where there are not so many."""
        place = self.peak_place(unit, rank)
        return None if place is None else self.subject.held_out.track(place)


def inspect_run(run: Run, told: Told = lambda what: None, *, last: bool = False) -> Inspection:
    """Measure the model of a run on its held-out data.

    Args:
        run: a finished run, whose data is still there.
        told: told what is being measured.
        last: measure the model that the run ended with, not the best one.

    Raises:
        InputError: the data is gone or has changed, or too little of it is held out.
    """
    return inspect(check_inspectable(run, last=last), told)


def check_inspectable(run: Run, *, last: bool = False) -> Subject:
    """Return the model of a run with its data, if it can be inspected on it.

    Raises:
        InputError: the data is gone or has changed, or hardly anything of it is held out.
    """
    subject = subject_of_run(run, last=last)
    check_held_out(subject.held_out, f"the run {str(run.path)!r}")
    return subject


def inspect(subject: Subject, told: Told = lambda what: None) -> Inspection:
    """Measure a model on its held-out data, of which there is enough.

    Args:
        subject: the model and the data.
        told: told what is being measured.

    Raises:
        InputError: what it predicts is no number.
    """
    evaluation = subject.evaluate()
    if subject.unit and not math.isfinite(evaluation.cost):
        raise InputError(
            f"the model {subject.name!r} predicts {evaluation.cost}: its weights are out of all "
            "bounds",
            "a model whose predictions are numbers",
            "train again, with a smaller learning rate",
        )
    told("gates, retention, units")
    windows = windows_of(subject.held_out)
    saturation, retention, units = _read_through(subject, windows)
    tracking = _tracking(units)
    told("passages")
    peaks = _peaks(subject, windows, list(tracking.values()))
    told("memory horizon")
    horizon = horizon_of(subject)
    told("gradient flow")
    flow = gradient_flow(subject.model, _flow_batches(subject), _weighted_at_random(subject))
    if held := bool(saturation.gates and subject.unit):
        told("gates held")
    return Inspection(
        name=subject.name,
        subject=subject,
        evaluation=evaluation,
        passage=passage_of(subject),
        horizon=horizon,
        flow=flow,
        retention=retention,
        saturation=saturation,
        units=units,
        tracking=tracking,
        windows=tuple(windows),
        peaks=peaks,
        ablation=ablate(subject.model, lambda _: _quick_cost(subject)) if held else None,
    )


def _quick_cost(subject: Subject) -> float:
    return subject.evaluate(quick=True).cost


def _read_through(
    subject: Subject, windows: list[Window]
) -> tuple[Saturation, Retention, FoundUnits]:
    """The measurements that one reading of the data gives."""
    run = carried(subject)
    found = measure(
        subject.model,
        batches(subject, windows),
        SaturationMeter(),
        RetentionMeter(),
        UnitMeter(),
        run=lambda model, batch: run(model, batch[0]),
    )
    saturation, retention, units = found
    return saturation, retention, units


def _tracking(units: FoundUnits) -> dict[str, TrackingUnit]:
    """Of the properties that are tracked best, the unit that does, on the held-out half too."""
    best = {name: units.best(name, 1)[0] for name in occurring(units)}
    strongest = sorted(best, key=lambda name: -abs(best[name].held_out))[:SHOWN_UNITS]
    return {
        name: unit
        for name, unit in best.items()
        if name in strongest and abs(unit.held_out) >= LEAST_TRACKED
    }


def occurring(units: FoundUnits) -> tuple[str, ...]:
    """The properties that are not the same at every place that units are chosen on."""
    return tuple(
        name
        for p, name in enumerate(units.properties)
        if any(r[p].any() for r in units.correlation.values())
    )


def _peaks(subject: Subject, windows: list[Window], units: list[TrackingUnit]) -> Peaks | None:
    if not units:
        return None
    reads = (subject.read(places, fresh=fresh) for places, fresh in windows)
    return find_peaks(
        subject.model,
        reads,
        units,
        count=PEAKS,
        before=BEFORE,
        after=AFTER,
        run=carried(subject),
    )


def _flow_batches(subject: Subject) -> Iterator[Read]:
    """One batch, of places that are evenly spread."""
    steps = min(FLOW_STEPS, max(1, span_of(subject.held_out.lengths).lag))
    count = sequences_at_once(subject.model, steps, FLOW_SEQUENCES, FLOW_COPIES)
    places = spread_places(subject.held_out.lengths, steps)[:ANCHORS_AT_ONCE]
    return iter([subject.read(places[:: -(-len(places) // count)], predicting=True)])


def _weighted_at_random(subject: Subject) -> Callable[[nn.Module, Read], Tensor]:
    """The loss whose gradient is followed: what is said after the last step, signs at random."""
    generator = torch.Generator().manual_seed(0)

    def loss(_: nn.Module, read: Read) -> Tensor:
        said = subject.predicted(read)
        signs = torch.randint(2, said.shape, generator=generator).to(said) * 2 - 1
        return (said * signs).sum()

    return loss
