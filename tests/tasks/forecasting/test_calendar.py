"""What is told of a time, and after how many steps things come again."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from gatework.tasks.forecasting.calendar import CALENDAR, calendar_of, seasons_of, told_by

DAY = 86_400.0


def seconds(*dates: str) -> np.ndarray:
    return np.array([datetime.fromisoformat(d).replace(tzinfo=UTC).timestamp() for d in dates])


def test_days_of_the_week_begin_with_monday():
    days = [f"{year}-03-{day:02}" for year in (1969, 2026) for day in range(1, 29)]
    told = calendar_of(seconds(*days), ["day of week"])
    weekdays = [datetime.fromisoformat(day).weekday() for day in days]
    assert (told == np.eye(7)[weekdays]).all()


def test_time_of_day_is_the_same_every_day_and_no_other_hour_is():
    times = seconds("2026-01-05T06:00", "2026-07-19T06:00", "2026-07-19T18:00", "2026-07-19T07:00")
    told = calendar_of(times, ["time of day"])
    assert told[0] == pytest.approx(told[1], abs=1e-5)
    assert np.abs(told[2:] - told[1]).max(1).min() > 0.1


def test_there_are_as_many_numbers_as_the_table_says():
    for name, (_, count) in CALENDAR.items():
        assert calendar_of(np.zeros(3), [name]).shape == (3, count)
    assert calendar_of(np.zeros(3), []).shape == (3, 0)


@pytest.mark.parametrize(
    ("step", "span", "told"),
    [
        (60.0, 3600.0, ()),
        (3600.0, 3 * DAY, ("time of day",)),
        (DAY, 100 * DAY, ("day of week",)),
        (DAY, 1000 * DAY, ("day of week", "time of year")),
        (30 * DAY, 1000 * DAY, ("time of year",)),
    ],
)
def test_only_what_can_be_learned_is_told(step, span, told):
    assert told_by(step, span) == told


@pytest.mark.parametrize(
    ("step", "seasons"),
    [
        (None, ()),
        (60.0, ()),  # a day of minutes is longer than a context should be
        (900.0, (96, 672)),
        (3600.0, (24, 168)),
        (DAY, (7,)),
        (7 * DAY, (52,)),
        (91.3 * DAY, (4,)),
        (365 * DAY, ()),
    ],
)
def test_seasons_follow_from_the_step(step, seasons):
    assert seasons_of(step) == seasons
