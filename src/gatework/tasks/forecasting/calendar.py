"""What the calendar says of a time: known ahead, and found by itself from dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["CALENDAR", "calendar_of", "seasons_of", "told_by"]

DAY, WEEK, YEAR = 86_400.0, 7 * 86_400.0, 365.2425 * 86_400.0
LONGEST = 1_000
"""Steps of a season that is found by itself: a context has to hold it."""
FIRST_MONDAY = 4 * DAY
"""Seconds from the beginning of 1970, a Thursday, to its first Monday."""


def _waves(phase: NDArray[np.float64], count: int) -> list[NDArray[np.float64]]:
    turns = 2 * np.pi * phase
    return [f(k * turns) for k in range(1, count + 1) for f in (np.sin, np.cos)]


def _day(times: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return _waves(times / DAY % 1, 3)


def _weekday(times: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    day = ((times - FIRST_MONDAY) // DAY).astype(np.int64) % 7
    return [(day == k).astype(np.float64) for k in range(7)]


def _year(times: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return _waves(times / YEAR % 1, 2)


CALENDAR: dict[str, tuple[Callable[[NDArray[np.float64]], list[NDArray[np.float64]]], int]] = {
    "time of day": (_day, 6),
    "day of week": (_weekday, 7),
    "time of year": (_year, 4),
}
"""What is told of a time, and by how many numbers."""


def told_by(step: float, span: float) -> tuple[str, ...]:
    """Return what of the calendar matters.

    Args:
        step: usual seconds between rows.
        span: seconds from the first to the last.

    Example:
        >>> told_by(step=3600.0, span=30 * 86_400.0)
        ('time of day', 'day of week')
    """
    matters = {
        "time of day": step < DAY and span > 2 * DAY,
        "day of week": step < WEEK and span > 2 * WEEK,
        "time of year": span > 1.5 * YEAR,
    }
    return tuple(name for name, does in matters.items() if does)


def calendar_of(times: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float32]:
    """Return what some of the calendar says of times [R]: [R, numbers]."""
    columns = [column for name in names for column in CALENDAR[name][0](times)]
    return np.stack(columns, 1).astype(np.float32) if columns else np.empty((len(times), 0), "f4")


def seasons_of(step: float | None) -> tuple[int, ...]:
    """Return after how many steps things come again, from the usual seconds between rows.

    Example:
        >>> seasons_of(1800.0), seasons_of(86_400.0), seasons_of(30.4 * 86_400)
        ((48, 336), (7,), (12,))
    """
    if step is None:
        return ()
    found = {round(length / step) for length in _lengths(step) if length / step >= 1.9}
    return tuple(sorted(k for k in found if k <= LONGEST))


def _lengths(step: float) -> Sequence[float]:
    if step < DAY:
        return (DAY, WEEK)
    return (WEEK,) if step < WEEK else (YEAR,)
