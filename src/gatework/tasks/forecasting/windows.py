"""Windows of series: what is read, what is known ahead, what came before, what is to be found.

What has seasons is read as its difference from a season before: what a model has to learn is how
this week is unlike the last one, not how weeks look.

T  steps read      P  of them from which is forecast      K  steps ahead
F  features      A  known ahead      Y  targets      L  earlier values
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gatework.data.scaling import Scaling
from gatework.data.sequences import Sequences
from gatework.tasks.features import Features
from gatework.tasks.forecasting.calendar import CALENDAR, calendar_of

__all__ = ["Shape", "Window", "Windows"]


class Shape(NamedTuple):
    """How long the parts of a window are."""

    context: int
    """Steps that a forecast is made from."""
    horizon: int
    """K."""
    lags: tuple[int, ...]
    """How many steps before what is predicted earlier values lie: those of each season, the
    longest last."""

    @property
    def earlier(self) -> int:
        """L."""
        return 1 + len(self.lags) + (1 + min(2, len(self.lags)) if self.lags else 0)

    @property
    def before(self) -> int:
        """Rows before a window that its earlier values and differences hang on."""
        return self.lags[-1] + self.lags[0] if self.lags else 0


class Window(NamedTuple):
    """One window, scaled."""

    inputs: NDArray[np.float32]
    """[T, F]"""
    ahead: NDArray[np.float32]
    """[P, K, A]"""
    earlier: NDArray[np.float32]
    """[P, K, Y, L]: the last value that is known, how much higher it was than a season before, the
    mean of that over the last of the shorter seasons, the same of the step one of them before,
    then the values of each season before; 0 where one is not known."""
    targets: NDArray[np.float32]
    """[P, K, Y]; NaN where it is not known."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Takes windows out of series.

    Attributes:
        sequences: the series; the targets are their first columns.
        features: of their columns.
        future: places of the columns that are known ahead.
        calendar: what of the calendar is told.
        scales: of each series the scaling of its targets.
        shape: of the windows.
    """

    sequences: Sequences
    features: Features
    targets: int
    future: tuple[int, ...]
    calendar: tuple[str, ...]
    scales: list[Scaling]
    shape: Shape
    step: float
    """Usual time between rows."""

    def window(self, series: int, last: int, forecasts: int = 1) -> Window:
        """Return the window whose last forecast is made from a row.

        Args:
            series: which.
            last: row (of all) that is the last to be read; what lies before the series is missing.
            forecasts: P, from the last steps.
        """
        context, horizon, _ = self.shape
        before, steps = self.shape.before, context + forecasts - 1
        first, stop = last + 1 - steps - before, last + 1 + horizon
        values, times = self._rows(series, first, stop)
        features = self._features(series, values, times)
        scaled = self.scales[series].apply(values[:, : self.targets])  # [before + T + K, Y]
        ahead = features[:, self.places_ahead]
        begin = before + steps - forecasts + 1  # of the first step ahead of the first forecast
        return Window(
            features[before : before + steps],
            _following(ahead[begin:], forecasts, horizon),
            self._earlier(scaled, begin, forecasts),
            _following(scaled[begin:], forecasts, horizon),
        )

    def _rows(
        self, series: int, first: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Values and times of rows, of which some may lie before or after the series."""
        rows = self.sequences.rows(series)
        low, high = max(first, rows.start), min(stop, rows.stop)
        values = np.full((stop - first, len(self.sequences.columns)), np.nan, np.float32)
        values[low - first : high - first] = self.sequences.values[low:high]
        if self.sequences.times is None:
            return values, None
        at = np.arange(first, stop)
        there = np.clip(at, rows.start, rows.stop - 1)
        return values, self.sequences.times[there] + (at - there) * self.step

    def _features(
        self, series: int, values: NDArray[np.float32], times: NDArray[np.float64] | None
    ) -> NDArray[np.float32]:
        """What layers read of rows [R, F]: targets by their series' own scale, over a season."""
        own = values.copy()
        scale, usual = self.scales[series], self.features.scaling
        y = self.targets
        scaled = scale.apply(values[:, :y])
        if self.shape.lags:
            scaled = scaled - _shifted(scaled, self.shape.lags[-1])
        own[:, :y] = scaled * usual.scales[:y] + usual.means[:y]
        parts = [self.features.of(own, times)]
        if times is not None:
            parts.append(calendar_of(times, self.calendar))
        if self.features.static is not None and self.sequences.static is not None:
            one = self.features.static.of(self.sequences.static[series : series + 1])
            parts.append(np.repeat(one, len(values), axis=0))
        return np.concatenate(parts, axis=1, dtype=np.float32)

    @cached_property
    def places_ahead(self) -> list[int]:
        """What layers read that is known ahead: columns that were named, and the calendar."""
        named = self.features.places({self.features.columns[k] for k in self.future})
        told = sum(CALENDAR[name][1] for name in self.calendar)
        first = self.features.size
        return named + list(range(first, first + told * (self.sequences.times is not None)))

    def _earlier(
        self, scaled: NDArray[np.float32], begin: int, forecasts: int
    ) -> NDArray[np.float32]:
        """Earlier values [P, K, Y, L] of rows, where the first step ahead is that of `begin`."""
        horizon, lags = self.shape.horizon, self.shape.lags
        known = _carried(scaled[: begin + forecasts - 1])

        def at(rows: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
            return _following(rows[begin - lag :], forecasts, horizon)  # [P, K, Y]

        def now(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.repeat(rows[begin - 1 :][:, None], horizon, axis=1)

        parts = [now(known)]
        if lags:
            higher = known - _shifted(known, lags[-1])
            parts += [now(higher), now(_mean_of_last(higher, lags[0]))]
        if len(lags) > 1:
            parts.append(at(higher, lags[0]))
        parts += [at(known, lag) for lag in lags]
        return np.nan_to_num(np.stack(parts, axis=-1))


def _shifted(rows: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    """Rows [R, n] as they were so many rows before; NaN before the first."""
    found = np.full_like(rows, np.nan)
    found[lag:] = rows[: max(0, len(rows) - lag)]
    return found


def _mean_of_last(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """For each row [R, n] the mean of what is known of it and those before; 0 of nothing."""
    sums = np.cumsum(np.nan_to_num(rows).astype(np.float64), axis=0)
    there = np.cumsum(~np.isnan(rows), axis=0)
    sums[count:] -= sums[:-count].copy()
    there[count:] -= there[:-count].copy()
    found: NDArray[np.float32] = (sums / np.maximum(there, 1)).astype(np.float32)
    return found


def _following(rows: NDArray[np.float32], forecasts: int, horizon: int) -> NDArray[np.float32]:
    """Of rows [R, n] those that follow each forecast: [P, K, n]."""
    found = sliding_window_view(rows[: forecasts + horizon - 1], horizon, axis=0)  # [P, n, K]
    return found.swapaxes(1, 2)


def _carried(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows [R, n] with the last known value in place of a missing one."""
    known = np.where(np.isnan(rows), 0, np.arange(len(rows))[:, None])
    at = np.maximum.accumulate(known, axis=0)
    found: NDArray[np.float32] = np.take_along_axis(rows, at, axis=0)
    return found
