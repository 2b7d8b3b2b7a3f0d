"""The times of steps ahead."""

from __future__ import annotations

import numpy as np
import pytest

from gatework.tasks.forecasting.steps import times_after

DAY = 86_400.0


def seconds(*dates):
    return np.array(dates, "M8[s]").astype(float)


@pytest.mark.parametrize(
    ("known", "ahead"),
    [
        (["2026-01-01", "2026-02-01"], ["2026-03-01", "2026-04-01", "2026-05-01"]),
        (["2023-12-31", "2024-01-31"], ["2024-02-29", "2024-03-31", "2024-04-30"]),
        (["2025-11-15T06:00", "2025-12-15T06:00"], ["2026-01-15T06:00", "2026-02-15T06:00"]),
        (["2025-07-01", "2025-10-01"], ["2026-01-01", "2026-04-01"]),
        (["2023-01-01", "2024-01-01"], ["2025-01-01", "2026-01-01"]),
        (["1969-11-01", "1969-12-01"], ["1970-01-01", "1970-02-01"]),
    ],
)
def test_months_quarters_and_years_go_on_by_the_calendar(known, ahead):
    found = times_after(seconds(*known), 30.4 * DAY, len(ahead), dated=True)
    assert found.tolist() == seconds(*ahead).tolist()


@pytest.mark.parametrize("step", [900.0, 3600.0, DAY, 7 * DAY, 28 * DAY])
def test_even_steps_go_on_evenly(step):
    times = seconds("2026-01-05")[0] + step * np.arange(40)
    assert times_after(times, step, 3, dated=True) == pytest.approx(
        times[-1] + step * np.arange(1, 4)
    )


def test_plain_numbers_and_a_single_time_go_on_by_the_step():
    assert times_after(np.array([1.0, 3.0]), 2.0, 2, dated=False).tolist() == [5.0, 7.0]
    (day,) = seconds("2026-01-01")
    assert times_after(np.array([day]), DAY, 1, dated=True).tolist() == [day + DAY]
