"""The held-out part of series, and what is read before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gatework.data.sequences import Sequences
from gatework.tasks.forecasting.calendar import CALENDAR
from gatework.tasks.forecasting.windows import Windows
from gatework.tasks.held_out import HeldOut, Place, Stretch, Track

__all__ = ["HeldOutSeries"]


class HeldOutSeries(HeldOut):
    """The last part of each series, with the context of its first forecast before it.

    Args:
        sequences: the series.
        windows: of them.
        cuts: row at which the held-out part of each begins.
        targets: names of what is forecast, the first columns.
    """

    def __init__(
        self,
        sequences: Sequences,
        windows: Windows,
        cuts: NDArray[np.int64],
        targets: Sequence[str],
    ) -> None:
        context = windows.shape.context
        some = np.flatnonzero(cuts < sequences.starts[1:])
        begins = np.maximum(sequences.starts[:-1], cuts - context)[some]
        self.lengths = sequences.starts[1:][some] - begins
        self.begins = cuts[some] - begins
        """int64 [N], the step of each at which what is held out begins."""
        self.series, self._first_rows = some, begins
        """int64 [N], which of all series each is; the row of its first step."""
        self._sequences, self._windows, self._targets = sequences, windows, tuple(targets)

    def row(self, sequence: int, step: int) -> int:
        """Return the row, of all, of a step."""
        return int(self._first_rows[sequence]) + step

    def read(self, place: Place) -> Stretch:
        """Return features, and what each step's forecast needs: `ahead` and `earlier`."""
        steps = place.last - place.first
        before = max((0, *self._windows.shape.lags))  # so that earlier values are known
        wide = replace(self._windows, shape=self._windows.shape._replace(context=before + 1))
        series, last = int(self.series[place.sequence]), self.row(place.sequence, place.last - 1)
        inputs, ahead, earlier, _ = map(torch.tensor, wide.window(series, last, steps))
        more = {"ahead": ahead.unsqueeze(1), "earlier": earlier.unsqueeze(1)}
        return Stretch(inputs[before:].unsqueeze(1), more)

    def track(self, place: Place) -> Track:
        """Return all columns as curves."""
        sequences = self._sequences
        rows = slice(self.row(place.sequence, place.first), self.row(place.sequence, place.last))
        times = None if sequences.times is None else sequences.times[rows]
        name = sequences.ids[int(self.series[place.sequence])] if len(sequences) > 1 else ""
        return Track(curves=sequences.curves(rows), times=times, dated=sequences.dated, name=name)

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
