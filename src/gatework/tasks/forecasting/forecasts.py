"""What is forecast: as numbers, as a table.

N  forecasts      K  steps ahead      Y  targets      Q  quantiles
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from gatework.data.sequences import Sequences

__all__ = ["Ahead", "Forecasts", "times_of"]

DAY = 86_400


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts from one row of each of some series.

    Attributes:
        series: number of the series of each.
        rows: row from which each is made.
        quantiles: [forecasts, K, Y, Q] in the targets' own units, in their order.
        truth: [forecasts, K, Y]; NaN where it is not known.
    """

    series: NDArray[np.int64]
    rows: NDArray[np.int64]
    quantiles: NDArray[np.float64]
    truth: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ahead:
    """What comes after some series.

    Attributes:
        sequences: the series.
        targets: names of what is forecast.
        levels: of the quantiles.
        found: the forecasts, one for each series that has a value.
        times: [N, K], as those of the series; numbers of rows, from 1, where they have none.
        notes: what a reader should know.
    """

    sequences: Sequences
    targets: tuple[str, ...]
    levels: tuple[float, ...]
    found: Forecasts
    times: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many series are forecast."""
        return len(self.found.series)

    def name(self, number: int) -> str:
        """Return what a series is called."""
        return self.sequences.ids[int(self.found.series[number])]

    def past(self, number: int, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return times [steps] and values [steps, Y] before a forecast, fewer of a short series."""
        series, row = int(self.found.series[number]), int(self.found.rows[number])
        start = int(self.sequences.starts[series])
        rows = slice(max(start, row + 1 - steps), row + 1)
        values = self.sequences.values[rows, : len(self.targets)].astype(np.float64)
        return times_of(self.sequences, series)[rows.start - start : rows.stop - start], values

    def stamp(self, time: float) -> str:
        """Write one of the times as people do, and all of them in one form."""
        if not self.sequences.dated:
            return f"{time:.12g}"
        stamp = np.datetime_as_string(np.float64(time).astype("M8[s]")).replace("T", " ")
        return stamp.removesuffix(" 00:00:00") if (self.times % DAY == 0).all() else stamp

    def write(self, file: TextIO) -> None:
        """Write all forecasts as a table: unique_id, ds, a column for each target and quantile."""
        table = csv.writer(file, lineterminator="\n")
        columns = [f"{target}_{level:g}" for target in self.targets for level in self.levels]
        table.writerow(["unique_id", "ds", *columns])
        table.writerows(self._rows())

    def _rows(self) -> Iterator[list[str]]:
        for number, steps in enumerate(self.found.quantiles):
            for time, values in zip(self.times[number].tolist(), steps, strict=True):
                numbers = [f"{value:.7g}" for value in values.ravel().tolist()]
                yield [self.name(number), self.stamp(time), *numbers]


def times_of(sequences: Sequences, series: int) -> NDArray[np.float64]:
    """Return the times of a series; the numbers of its rows where there are none."""
    rows = sequences.rows(series)
    if sequences.times is None:
        return np.arange(1, rows.stop - rows.start + 1, dtype=np.float64)
    return sequences.times[rows]
