"""The held-out part of series, and what is read before it.

T  time steps      K  steps ahead      Y  targets      Q  quantiles
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from gatework.data.sequences import Sequences
from gatework.tasks.forecasting.calendar import CALENDAR
from gatework.tasks.forecasting.metrics import quantile_losses
from gatework.tasks.forecasting.steps import times_after
from gatework.tasks.forecasting.windows import Windows
from gatework.tasks.held_out import Judged, Place, Stretch, Track
from gatework.tasks.said import Fan, Forecast, known

__all__ = ["HeldOutSeries"]


class HeldOutSeries(Judged):
    """The last part of each series, with the context of its first forecast before it.

    Args:
        sequences: the series.
        windows: of them.
        cuts: row at which the held-out part of each begins.
        targets: names of what is forecast, the first columns.
        levels: of the quantiles.
    """

    def __init__(
        self,
        sequences: Sequences,
        windows: Windows,
        cuts: NDArray[np.int64],
        targets: Sequence[str],
        levels: Sequence[float],
    ) -> None:
        context = windows.shape.context
        some = np.flatnonzero(cuts < sequences.starts[1:])
        begins = np.maximum(sequences.starts[:-1], cuts - context)[some]
        self.lengths = sequences.starts[1:][some] - begins
        self.begins = cuts[some] - begins
        """int64 [N], the step of each at which what is held out begins."""
        self.series, self._first_rows = some, begins
        """int64 [N], which of all series each is; the row of its first step."""
        self._sequences, self._windows = sequences, windows
        self._targets, self._levels = tuple(targets), tuple(levels)

    def row(self, sequence: int, step: int) -> int:
        """Return the row, of all, of a step."""
        return int(self._first_rows[sequence]) + step

    def read(self, place: Place) -> Stretch:
        """Return features, and what each step's forecast needs: `ahead` and `earlier`."""
        steps = place.last - place.first
        short = replace(self._windows, shape=self._windows.shape._replace(context=1))
        series, last = int(self.series[place.sequence]), self.row(place.sequence, place.last - 1)
        inputs, ahead, earlier, _ = map(torch.tensor, short.window(series, last, steps))
        more = {"ahead": ahead.unsqueeze(1), "earlier": earlier.unsqueeze(1)}
        return Stretch(inputs.unsqueeze(1), more)

    def track(self, place: Place) -> Track:
        """Return all columns as curves."""
        sequences = self._sequences
        rows = slice(self.row(place.sequence, place.first), self.row(place.sequence, place.last))
        times = None if sequences.times is None else sequences.times[rows]
        return Track(
            curves=sequences.curves(rows),
            times=times,
            dated=sequences.dated,
            name=self.name(place.sequence),
        )

    def name(self, sequence: int) -> str:
        """Return the id of a series; "" where there is but one."""
        series = self._sequences
        return series.ids[int(self.series[sequence])] if len(series) > 1 else ""

    def begin(self, sequence: int) -> int:
        """Return the step of the first row that is held out."""
        return int(self.begins[sequence])

    def costs(self, predictions: Tensor, place: Place) -> NDArray[np.float32]:
        """Return the quantile loss of the forecast from each step, over all that is known of it."""
        horizon = self._windows.shape.horizon
        coming = self._coming(place._replace(last=place.last - 1 + horizon))
        scaled = self._windows.scales[int(self.series[place.sequence])].apply(coming)
        truth = sliding_window_view(scaled, horizon, axis=0).swapaxes(1, 2)  # [T, K, Y]
        apart = truth[..., None] - predictions[:, 0].sort(-1).values.numpy()
        each = quantile_losses(apart, np.array(self._levels, np.float32))
        known = (~np.isnan(each)).sum((1, 2))
        means = np.nansum(each, (1, 2)) / np.maximum(known, 1)
        return np.where(known > 0, means, np.nan).astype(np.float32)

    def _coming(self, place: Place) -> NDArray[np.float64]:
        """The targets after each of some steps [T, Y], in their own unit; NaN past the end."""
        first, last = (self.row(place.sequence, step) + 1 for step in place[1:])
        stop = self._sequences.rows(int(self.series[place.sequence])).stop
        values = np.full((last - first, len(self._targets)), np.nan)
        known = self._sequences.values[first : min(last, stop), : len(self._targets)]
        values[: len(known)] = known
        return values

    def cost(self, costs: NDArray[np.float32], place: Place) -> float:
        """Return the mean over forecasts of what is held out."""
        begin = self.begin(place.sequence) - 1  # the last step that was learned from
        return super().cost(costs[max(0, begin - place.first) :], place)

    def said(self, prediction: Tensor, sequence: int, step: int, count: int) -> Forecast:
        """Return the quantiles of what comes, in the targets' own unit."""
        horizon = self._windows.shape.horizon
        scale = self._windows.scales[int(self.series[sequence])]
        scaled = prediction[0, :, :count].double().sort(-1).values.numpy()  # [K, Y, Q]
        own = scaled * scale.scales[:count, None] + scale.means[:count, None]
        truth = self._coming(Place(sequence, step, step + horizon))
        targets = (
            Fan(name, tuple(map(known, own[:, y].T)), known(truth[:, y]))
            for y, name in enumerate(self._targets[:count])
        )
        return Forecast(self._levels, self._times_after(sequence, step), tuple(targets))

    def _times_after(self, sequence: int, step: int) -> tuple[float, ...]:
        series, horizon = int(self.series[sequence]), self._windows.shape.horizon
        if self._sequences.times is None:
            return tuple(float(step + k) for k in range(1, horizon + 1))
        begin = self._sequences.rows(series).start
        times = self._sequences.times[begin : self.row(sequence, step) + 1]
        found = times_after(times, self._windows.step, horizon, dated=self._sequences.dated)
        return tuple(found.tolist())

    def properties(self, place: Place) -> Mapping[str, NDArray[np.float32]]:
        """Return the features that rows have, and how each target changes."""
        features = self.read(place).inputs[:, 0].numpy()
        found = {name: features[:, k] for k, name in enumerate(self._names)}
        changes = (
            (f"change of {name}", np.diff(found[name], prepend=found[name][:1]))
            for name in self._targets
        )
        return {**found, **dict(changes)}

    @property
    def _names(self) -> list[str]:
        """What the features are, those of whole series left out."""
        told = self._windows.calendar if self._sequences.times is not None else ()
        numbered = [f"{name} {k + 1}" for name in told for k in range(CALENDAR[name][1])]
        return [*self._windows.features.names, *numbered]

    def passage(self, steps: int) -> Place:
        """Return the first steps that are held out of the first series that has so many."""
        enough = self.lengths - self.begins >= steps
        sequence = int(enough.argmax()) if enough.any() else int(self.lengths.argmax())
        length, begin = int(self.lengths[sequence]), int(self.begins[sequence])
        first = max(0, min(begin, length - steps))
        return Place(sequence, first, min(length, first + steps))
