"""Forecasts from the end of series: what comes after the last value that is known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatework.data.reading import read_sequences
from gatework.data.sequences import Sequences
from gatework.data.times import step_of
from gatework.errors import InputError
from gatework.tasks.forecasting.forecasts import Ahead
from gatework.tasks.forecasting.task import ForecastTask
from gatework.tasks.task import SequenceModel

__all__ = ["after_the_end", "forecast_ahead"]

OTHER_STEP = 0.5
"""Share by which the step of series may differ from that of those that were learned from."""


def forecast_ahead(task: ForecastTask, model: SequenceModel, files: Iterable[str | Path]) -> Ahead:
    """Forecast what comes after the last value of each series in files.

    Rows that follow without a value say what is known ahead, such as holidays.

    Args:
        task: that the model has learned, such as `run.task`.
        model: the model, such as `run.load_model()`.
        files: with the columns that were learned from.

    Raises:
        InputError: columns are missing, or what is to be known ahead is not, or the series are not
            like those that were learned from.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("loads.csv").write_text("y\\n" + "1\\n2\\n4\\n" * 40)
        >>> run = gw.train_cell(
        ...     gw.cells.gru, "loads.csv", task="forecast", horizon=2, hidden_size=4, steps=2
        ... )
        >>> ahead = forecast_ahead(run.task, run.load_model(), ["loads.csv"])
        >>> ahead.found.quantiles.shape, ahead.times
        ((1, 2, 1, 3), array([[121., 122.]]))
    """
    paths = tuple(Path(file) for file in files)
    return after_the_end(task, model, read_sequences(paths, task.settings, "forecast"))


def after_the_end(task: ForecastTask, model: SequenceModel, sequences: Sequences) -> Ahead:
    """Forecast what comes after series that were read.

    Raises:
        InputError: as `forecast_ahead`.
    """
    sequences = task.features.placed(sequences)
    _check_times(task, sequences)
    ends = _ends(sequences, len(task.targets))
    some = np.flatnonzero(ends >= sequences.starts[:-1])
    if not len(some):
        raise InputError(
            f"no value of {task.targets[0]!r} in {sequences.name}",
            "values to go on from",
            "check that column",
        )
    _check_known_ahead(task, sequences, some, ends)
    windows = task.windows(sequences, ends + 1)
    found = task.forecast(model, windows, [(int(k), int(ends[k])) for k in some])
    return task.ahead(sequences, found, _notes(sequences, some))


def _ends(sequences: Sequences, targets: int) -> NDArray[np.int64]:
    """The last row of each series [N] that has a value of a target; before it where none has."""
    found = sequences.starts[:-1] - 1
    for series in range(len(sequences)):
        rows = sequences.rows(series)
        known = ~np.isnan(sequences.values[rows, :targets]).all(1)
        if known.any():
            found[series] = rows.start + int(np.flatnonzero(known)[-1])
    return found


def _notes(sequences: Sequences, some: NDArray[np.int64]) -> tuple[str, ...]:
    left = sorted({*range(len(sequences))} - {*some.tolist()})
    if not left:
        return sequences.notes
    more = f" and {len(left) - 3:,} more" if len(left) > 3 else ""
    names = ", ".join(sequences.ids[k] for k in left[:3])
    return (*sequences.notes, f"without a value, so without a forecast: {names}{more}")


def _check_times(task: ForecastTask, sequences: Sequences) -> None:
    if task.calendar and not sequences.dated:
        raise InputError(
            f"{sequences.name} without dates",
            "a column of dates, as in what the model has learned from",
            f"add it, called {task.settings.time or 'ds'}",
        )
    step = step_of(sequences)
    if step is not None and abs(step - task.step) > OTHER_STEP * task.step:
        raise InputError(
            f"{sequences.name} with a row every {_length(step, sequences)}",
            f"one every {_length(task.step, sequences)}, as in what the model has learned from",
            "bring them to that step, or train a model on series like these",
        )


def _length(step: float, sequences: Sequences) -> str:
    return f"{step:g} seconds" if sequences.dated else f"{step:g}"


def _check_known_ahead(
    task: ForecastTask, sequences: Sequences, some: NDArray[np.int64], ends: NDArray[np.int64]
) -> None:
    """Raise where a column that is known ahead is not known for all steps ahead."""
    horizon = task.settings.horizon
    places = [sequences.column(name) for name in task.future]
    for series in some.tolist() if places else ():
        end, stop = int(ends[series]), int(sequences.starts[series + 1])
        known = ~np.isnan(sequences.values[end + 1 : min(stop, end + 1 + horizon), places])
        if len(known) == horizon and known.all():
            continue
        several = f" in the series {sequences.ids[series]!r}" if len(sequences) > 1 else ""
        raise InputError(
            f"{', '.join(task.future)} known for {int(known.all(1).sum()):,} steps after the last "
            f"value of {task.targets[0]!r}{several}",
            f"all {horizon:,} steps ahead, since the model knows what is in these columns",
            f"add {horizon:,} rows with them, and nothing in {task.targets[0]!r}",
        )
