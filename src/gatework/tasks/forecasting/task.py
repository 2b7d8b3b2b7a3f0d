"""Forecasts as a task: windows of series, quantiles of the steps ahead, beside the seasonal naive.

P  steps from which is forecast     B  windows     K  steps ahead     Y  targets     Q  quantiles
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.data.dividing import by_time
from gatework.data.reading import read_sequences
from gatework.data.scaling import fit
from gatework.data.sequences import Sequences
from gatework.data.times import step_of
from gatework.errors import InputError
from gatework.tasks.features import Features
from gatework.tasks.forecasting.calendar import CALENDAR, seasons_of, told_by
from gatework.tasks.forecasting.chart import chart
from gatework.tasks.forecasting.drawing import MOST_DRAWN, draw_forecasts
from gatework.tasks.forecasting.forecasts import Ahead, Forecasts, times_of
from gatework.tasks.forecasting.held_out import HeldOutSeries
from gatework.tasks.forecasting.metrics import coverage, errors, quantile_losses
from gatework.tasks.forecasting.model import Forecaster, quantile_loss
from gatework.tasks.forecasting.settings import MEDIAN, ForecastSettings
from gatework.tasks.forecasting.steps import times_after
from gatework.tasks.forecasting.windows import Shape, Window, Windows
from gatework.tasks.settings import TaskSettings
from gatework.tasks.task import (
    ALL,
    Batch,
    Evaluation,
    Loss,
    MakeLayer,
    Part,
    SequenceModel,
    Shown,
    Source,
    Task,
    check_forward,
)

__all__ = ["TASKS", "ForecastTask", "Series"]

TOGETHER = 12
"""Steps at the end of a window from each of which is forecast in training."""
AT_ONCE = 64
"""Forecasts that are made side by side."""
QUICK = 500
"""Held-out forecasts that a point of the learning curve makes."""
MOST_STEPS = 10**6
"""Of a context or a season."""
SHOWN = (
    "The first steps that were held out, from all before them: the median and the outermost "
    "quantiles, beside what came."
)
NUMBERS = 1 << 16
"""Rows that a series' scale is taken from at once."""


@dataclass(frozen=True, eq=False)
class Series:
    """Series to learn from, and the last part of each held out."""

    sequences: Sequences
    cuts: NDArray[np.int64]
    """Row at which the held-out part of each begins."""
    windows: Windows
    sizes: tuple[int, int]
    """Windows to learn from; forecasts that are held out."""

    @property
    def name(self) -> str:
        """What they are."""
        return self.sequences.name

    @property
    def sha256(self) -> str:
        """Checksum of what was read."""
        return self.sequences.sha256

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.sequences.notes


class ForecastTask(Task):
    """Predict the next values of each series."""

    settings: ForecastSettings
    unit = "scaled quantile loss"
    counted = "windows"
    meaning = "the mean over the quantiles, in deviations of each series; 0 is certainty"

    def __init__(self, settings: TaskSettings, understood: Mapping[str, Any]) -> None:
        super().__init__(settings, understood)
        known = self.understood
        self.features = Features.of_data(known.get("features"))
        self.targets = _names(known, "targets", self.features.columns)
        if not self.targets:
            raise _damaged("targets")
        self.future = _names(known, "future", self.features.columns)
        self.calendar = _names(known, "calendar", CALENDAR)
        self.seasons = _whole(known, "seasons")
        self.context = _whole(known, "context", exactly=1)[0]
        self.step = _step(known)

    @property
    def shape(self) -> Shape:
        """How long the parts of a window are."""
        horizon = self.settings.horizon
        lags = tuple(sorted({season * -(-horizon // season) for season in self.seasons}))
        return Shape(self.context, horizon, lags)

    @property
    def median(self) -> int:
        """Which of the quantiles is the forecast itself."""
        return self.settings.quantiles.index(MEDIAN)

    # ---- source

    @classmethod
    def load(
        cls, settings: TaskSettings, files: tuple[Path, ...], known: Task | None = None
    ) -> tuple[Self, Series]:
        """Read series.

        Raises:
            InputError: a file is missing or is not what was asked for, or all series are too short.
        """
        asked = cast(ForecastSettings, settings)
        if asked.held_out:
            raise InputError(
                f"--held-out {asked.held_out[0]} for a forecast",
                "the last part of each series, which is held out by itself",
                "write --held-out-steps N, or forecast that file with the trained model",
            )
        sequences = read_sequences(files, asked, "forecast")
        last = asked.held_out_steps or asked.held_out_share
        cuts = by_time(sequences, last)
        task = cast(Self, known) or cls(asked, cls._understood(asked, sequences, cuts))
        return task, task.source(sequences, cuts)

    @classmethod
    def _understood(
        cls, settings: ForecastSettings, sequences: Sequences, cuts: NDArray[np.int64]
    ) -> dict[str, Any]:
        """What is found in the parts of the series that are learned from."""
        learned = _first_parts(sequences, cuts)
        features = Features.fit(learned, np.arange(len(learned)))
        step = step_of(sequences)
        seasons = settings.season or (seasons_of(step) if sequences.dated else ())
        horizon = settings.horizon
        least = max([2 * horizon, *(season * -(-horizon // season) for season in seasons)])
        times = sequences.times
        begins, ends = sequences.starts[:-1], sequences.starts[1:] - 1
        span = 0.0 if times is None else float(times[ends].max() - times[begins].min())
        targets = settings.target or sequences.columns[:1]
        return {
            "features": features.as_data(),
            "targets": list(targets),
            "future": list(settings.future),
            "calendar": list(told_by(step, span)) if step and sequences.dated else [],
            "seasons": list(seasons),
            "context": [settings.context or least],
            "step": step or 1.0,
        }

    def source(self, sequences: Sequences, cuts: NDArray[np.int64]) -> Series:
        """Return series with windows, scaled by what lies before the cuts.

        Raises:
            InputError: all series are too short to learn from.
        """
        sequences = self.features.placed(sequences)
        windows = self.windows(sequences, cuts)
        horizon = self.settings.horizon
        learned = self._begins(sequences, cuts)
        held_out = sum(len(rows) for _, rows in self._origins(sequences, cuts))
        if not learned[-1]:
            raise InputError(
                f"series of at most {int((cuts - sequences.starts[:-1]).max()):,} rows to learn "
                f"from in {sequences.name}",
                f"more than the horizon, {horizon:,} steps",
                "give longer ones, or a smaller --horizon",
            )
        if not held_out:
            raise InputError(
                f"no value of {self.targets[0]!r} among what is held out of {sequences.name}",
                "some, to measure the forecasts by",
                f"hold out more: --held-out-steps {horizon}",
            )
        return Series(sequences, cuts, windows, (int(learned[-1]), held_out))

    def windows(self, sequences: Sequences, cuts: NDArray[np.int64]) -> Windows:
        """Return what takes windows out of series, whose scales are those before the cuts."""
        count = len(self.targets)
        scales = [
            fit(
                sequences.values[k : min(cut, k + NUMBERS), :count]
                for k in range(start, max(cut, start + 1), NUMBERS)
            )
            for start, cut in zip(sequences.starts[:-1].tolist(), cuts.tolist(), strict=True)
        ]
        future = tuple(self.features.columns.index(name) for name in self.future)
        return Windows(
            sequences,
            self.features,
            count,
            future,
            self.calendar,
            scales,
            self.shape,
            self.step,
        )

    def _begins(self, sequences: Sequences, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many windows there are to learn from up to each series: [N + 1]."""
        lengths = cuts - sequences.starts[:-1] - self._skipped(sequences, cuts)
        counts = np.maximum(0, lengths - self.settings.horizon)
        return np.concatenate([[0], np.cumsum(counts)])

    def _skipped(self, sequences: Sequences, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """From how many first rows of each series nothing is learned: a season is not known there.

        In a short series, of which that would leave little, it is learned from all.
        """
        longest = max(self.shape.lags, default=0)
        lengths = cuts - sequences.starts[:-1]
        return np.where(lengths - self.settings.horizon > 2 * longest, longest, 0)

    def _origins(
        self, sequences: Sequences, cuts: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The rows of each series from which held-out forecasts are made: one after the other.

        A forecast of which nothing is known is left out.
        """
        horizon, count = self.settings.horizon, len(self.targets)
        stops = sequences.starts[1:]
        for series, (cut, stop) in enumerate(zip(cuts.tolist(), stops.tolist(), strict=True)):
            if cut > sequences.starts[series]:
                values = sequences.values[cut:stop, :count]
                known = np.flatnonzero(~np.isnan(values).all(axis=1))
                rows = np.arange(cut - 1, stop - 1, horizon)
                at = rows - cut + 1
                some = np.searchsorted(known, at + horizon) > np.searchsorted(known, at)
                yield series, rows[some]

    # ---- model

    def make_model(self, layers: MakeLayer, dropout: float) -> Forecaster:
        """Make a model with random weights.

        Raises:
            InputError: its layers read backward too, and so would see what they are to predict.
        """
        told = sum(CALENDAR[name][1] for name in self.calendar)
        model = Forecaster(
            self.features.size + told + self.features.static_size,
            len(self.features.places(self.future)) + told,
            self.shape.earlier,
            len(self.targets),
            self.settings.horizon,
            len(self.settings.quantiles),
            layers,
            dropout,
        )
        check_forward(model.layer, "for a forecast", "each step of the past forecasts")
        return model

    # ---- training

    def batches(
        self, source: Source, *, batch_size: int, window: int, seed: int, part: Part = ALL
    ) -> Drawn:
        """Return windows drawn at random, as the seed and the number of the batch decide."""
        return Drawn(self, cast(Series, source), batch_size, seed, part)

    def loss(self, predictions: Tensor, batch: Batch) -> Loss:
        """Return the quantile loss of scaled targets that are known."""
        levels = torch.tensor(self.settings.quantiles, device=predictions.device)
        return quantile_loss(predictions, batch.targets, levels)

    # ---- use

    @torch.no_grad()
    def forecast(
        self, model: SequenceModel, windows: Windows, places: Sequence[tuple[int, int]]
    ) -> Forecasts:
        """Return forecasts, in the targets' own units.

        Args:
            model: of this task.
            windows: of the series.
            places: of each forecast, the number of the series and the row from which it is made.
        """
        model.eval()
        device = next(model.parameters()).device
        found, truth = [], []
        for begin in range(0, len(places), AT_ONCE):
            some = places[begin : begin + AT_ONCE]
            batch = stacked([windows.window(series, row) for series, row in some])
            more = {name: value.to(device) for name, value in batch.more.items()}
            scaled, _ = model(batch.inputs.to(device), **more)
            own = [windows.scales[series] for series, _ in some]
            means = np.stack([s.means for s in own])[:, None]  # [B, 1, Y]
            scales = np.stack([s.scales for s in own])[:, None]
            quantiles = scaled[0].float().cpu().double().sort(-1).values.numpy()
            found.append(quantiles * scales[..., None] + means[..., None])
            truth.append(batch.targets[0].double().numpy() * scales + means)
        at = np.array(places, np.int64).reshape(-1, 2)
        shape = (0, self.settings.horizon, len(self.targets))
        return Forecasts(
            at[:, 0],
            at[:, 1],
            np.concatenate(found) if found else np.empty((*shape, len(self.settings.quantiles))),
            np.concatenate(truth) if truth else np.empty(shape),
        )

    def ahead(self, sequences: Sequences, found: Forecasts, notes: tuple[str, ...] = ()) -> Ahead:
        """Return forecasts with the times that they are for."""
        pairs = zip(found.series.tolist(), found.rows.tolist(), strict=True)
        times = [self._times_after(sequences, series, row) for series, row in pairs]
        levels = self.settings.quantiles
        return Ahead(sequences, self.targets, levels, found, np.stack(times), notes)

    def _times_after(self, sequences: Sequences, series: int, row: int) -> NDArray[np.float64]:
        known = times_of(sequences, series)[: row + 1 - int(sequences.starts[series])]
        step = 1.0 if sequences.times is None else self.step
        return times_after(known, step, self.settings.horizon, dated=sequences.dated)

    def show(self, model: SequenceModel, source: Source) -> Shown:
        """Forecast the first horizon that is held out of some series."""
        series = cast(Series, source)
        every = self._origins(series.sequences, series.cuts)
        places = [(number, int(rows[0])) for number, rows in every if len(rows)][:MOST_DRAWN]
        ahead = self.ahead(series.sequences, self.forecast(model, series.windows, places))
        picture = draw_forecasts(ahead).in_page
        return Shown("What it forecasts", SHOWN, chart(ahead, 0), picture, ("forecast",))

    def held_out(self, source: Source) -> HeldOutSeries:
        """Return the last part of each series, with the context of its first forecast."""
        series = cast(Series, source)
        levels = self.settings.quantiles
        return HeldOutSeries(series.sequences, series.windows, series.cuts, self.targets, levels)

    # ---- quality

    def held_out_places(self, source: Series, count: int | None = None) -> list[tuple[int, int]]:
        """Return from where held-out forecasts are made; `count` of them evenly spread."""
        every = [
            (series, int(row))
            for series, rows in self._origins(source.sequences, source.cuts)
            for row in rows
        ]
        if count is None or count >= len(every):
            return every
        return [every[k] for k in np.linspace(0, len(every) - 1, count).astype(int)]

    def evaluated(self, source: Source, *, quick: bool = False) -> int:
        """Return how many held-out forecasts are made."""
        return min(source.sizes[1], QUICK) if quick else source.sizes[1]

    def evaluate(self, model: SequenceModel, source: Source, *, quick: bool = False) -> Evaluation:
        """Forecast the held-out part of each series, one horizon after the other."""
        series = cast(Series, source)
        places = self.held_out_places(series, QUICK if quick else None)
        found = self.forecast(model, series.windows, places)
        return Evaluation(self._quantile_loss(series, found), *self._figures(series, found))

    def _quantile_loss(self, source: Series, found: Forecasts) -> float:
        scales = np.stack([source.windows.scales[k].scales for k in found.series.tolist()])
        apart = (found.truth[..., None] - found.quantiles) / scales[:, None, :, None]
        each = quantile_losses(apart, np.array(self.settings.quantiles))
        return float(np.nanmean(each))

    def _figures(
        self, source: Series, found: Forecasts
    ) -> tuple[dict[str, float], dict[str, float]]:
        usual = self._usual_errors(source)[found.series][:, None]
        usual = np.broadcast_to(usual, found.truth.shape).ravel()
        truth = found.truth.ravel()
        own = errors(truth, found.quantiles[..., self.median].ravel(), usual)
        levels = self.settings.quantiles
        if len(levels) > 1:
            inside = f"inside {levels[0]:g}–{levels[-1]:g}"
            low, high = found.quantiles[..., 0].ravel(), found.quantiles[..., -1].ravel()
            own[inside] = coverage(truth, low, high)
        naive = [
            errors(truth, self.naive(source, found, lag).ravel(), usual)
            for lag in (0, *self.shape.lags)
        ]
        return own, min(naive, key=lambda figures: figures["MAE"])

    def naive(self, source: Series, found: Forecasts, lag: int) -> NDArray[np.float64]:
        """Return the forecasts that take the value of a season before, or the last one.

        Args:
            source: the series.
            found: the forecasts beside which these are made.
            lag: steps before what is predicted; 0 for the last value that is known.
        """
        values, starts = source.sequences.values, source.sequences.starts
        steps = np.arange(1, self.settings.horizon + 1)
        taken = []
        for series, row in zip(found.series.tolist(), found.rows.tolist(), strict=True):
            at = row + steps - lag if lag else np.full(len(steps), row)
            at = np.clip(at, starts[series], row)
            taken.append(values[at, : len(self.targets)].astype(np.float64))
        return np.stack(taken)

    def _usual_errors(self, source: Series) -> NDArray[np.float64]:
        """The mean error of the seasonal naive forecast in what is learned from: [series, Y]."""
        season = self.seasons[0] if self.seasons else 1
        values, count = source.sequences.values, len(self.targets)
        found = []
        for start, cut in zip(source.sequences.starts.tolist(), source.cuts.tolist(), strict=False):
            sums, known = np.zeros(count), np.zeros(count, int)
            for begin in range(start, cut - season, NUMBERS):
                own = values[begin : min(cut, begin + NUMBERS + season), :count].astype(np.float64)
                apart = np.abs(own[season:] - own[:-season])
                sums += np.nansum(apart, 0)
                known += (~np.isnan(apart)).sum(0)
            found.append(sums / np.maximum(known, 1))
        return np.stack(found)


class Drawn:
    """Windows drawn at random with replacement; what comes is decided by seed and position."""

    def __init__(
        self, task: ForecastTask, source: Series, batch_size: int, seed: int, part: Part
    ) -> None:
        self.position = 0
        """Batches returned so far; set it to go on from a saved place."""
        self._source, self._batch_size, self._seed, self._part = source, batch_size, seed, part
        self._begins = task._begins(source.sequences, source.cuts)
        self._first = source.sequences.starts[:-1] + task._skipped(source.sequences, source.cuts)

    @property
    def seen(self) -> int:
        """Windows learned from so far, by all parts."""
        return self.position * self._batch_size

    def next(self) -> Batch:
        """Return this part of the next batch, and move on."""
        generator = np.random.default_rng([self._seed, self.position])
        self.position += 1
        drawn = generator.integers(int(self._begins[-1]), size=self._batch_size)
        return stacked([self._window(n) for n in drawn[self._part.slice(len(drawn))].tolist()])

    def _window(self, number: int) -> Window:
        series = int(np.searchsorted(self._begins, number, side="right")) - 1
        last = int(self._first[series] + number - self._begins[series])
        return self._source.windows.window(series, last, TOGETHER)


def stacked(windows: Sequence[Window]) -> Batch:
    """Return windows side by side."""
    parts = [np.stack(part, axis=1) for part in zip(*windows, strict=True)]
    inputs, ahead, earlier, targets = map(torch.from_numpy, parts)
    return Batch(inputs, targets, more={"ahead": ahead, "earlier": earlier})


def _first_parts(sequences: Sequences, cuts: NDArray[np.int64]) -> Sequences:
    """What lies before the cuts, as sequences of their own, for what is fitted."""
    return _Cut(sequences, cuts)  # type: ignore[return-value]


class _Cut:
    """Sequences that end at their cuts."""

    def __init__(self, sequences: Sequences, cuts: NDArray[np.int64]) -> None:
        self._sequences, self._cuts = sequences, cuts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sequences, name)

    def __len__(self) -> int:
        return len(self._sequences)

    def rows(self, index: int) -> slice:
        """The rows before the cut."""
        return slice(int(self._sequences.starts[index]), int(self._cuts[index]))


def _names(
    understood: Mapping[str, Any], what: str, known: Collection[str] | None = None
) -> tuple[str, ...]:
    """Names that were written down, all of them known ones."""
    names = understood.get(what)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _damaged(what)
    if known is not None and not set(names) <= set(known):
        raise _damaged(what)
    return tuple(names)


def _whole(understood: Mapping[str, Any], what: str, exactly: int | None = None) -> tuple[int, ...]:
    """Numbers of steps that were written down."""
    numbers = understood.get(what)
    if not isinstance(numbers, list) or not all(
        type(n) is int and 0 < n <= MOST_STEPS for n in numbers
    ):
        raise _damaged(what)
    if exactly is not None and len(numbers) != exactly:
        raise _damaged(what)
    return tuple(numbers)


def _step(understood: Mapping[str, Any]) -> float:
    """The usual time between rows that was written down."""
    step = understood.get("step")
    if not isinstance(step, int | float) or not 0 < step < np.inf:
        raise _damaged("step")
    return float(step)


def _damaged(what: str) -> InputError:
    return InputError(
        f"a run of a forecast without its {what}",
        "it as the run wrote it down",
        "restore its config.yaml, or train again",
    )


TASKS = {"forecast": ForecastTask}
