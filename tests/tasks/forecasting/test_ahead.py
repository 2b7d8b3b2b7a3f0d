"""Forecasts from the end of series: from where, for which times, as a table, as drawings."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from forecasters import random_forecaster
from gatework.errors import InputError
from gatework.tasks.forecasting.ahead import forecast_ahead
from gatework.tasks.forecasting.chart import chart
from gatework.tasks.forecasting.drawing import draw_forecasts
from series import daily_wave, hours

ROWS, HORIZON = 60, 4


def table(rows: int = ROWS, **more) -> dict:
    return {"ds": hours(rows), "y": daily_wave(rows).tolist(), **more}


@pytest.fixture
def ahead_of(loaded, written):
    """What a model with random weights forecasts, having understood another table."""

    def forecast(other, learned=None, **settings):
        asked = {"horizon": HORIZON, "context": 8, **settings}
        task, _ = loaded(learned or table(), **asked)
        return forecast_ahead(task, random_forecaster(task), [written(other)])

    return forecast


def rows_of(ahead) -> list[dict[str, str]]:
    file = io.StringIO()
    ahead.write(file)
    file.seek(0)
    return list(csv.DictReader(file))


def test_a_forecast_begins_after_the_last_value(ahead_of):
    other = table()
    other["y"][-3:] = [None] * 3
    ahead = ahead_of(other)
    assert ahead.found.rows.tolist() == [ROWS - 4]
    assert [ahead.stamp(time) for time in ahead.times[0]] == [
        time.replace("T", " ") for time in hours(ROWS + 1)[-4:]
    ]


def test_rows_after_the_end_change_nothing_but_what_is_known_ahead(ahead_of):
    longer = table()
    longer["y"][-HORIZON:] = [None] * HORIZON
    cut = {name: column[:-HORIZON] for name, column in longer.items()}
    found = [ahead_of(other).found.quantiles for other in (longer, cut)]
    assert np.array_equal(*found)


def test_the_table_has_a_row_for_each_step_of_each_series(ahead_of):
    two = {
        "unique_id": ["a"] * ROWS + ["b"] * 9,
        "ds": hours(ROWS) + hours(9),
        "y": [*table()["y"], *table()["y"][:9]],
    }
    ahead = ahead_of(two, learned=two, held_out_steps=4)
    rows = rows_of(ahead)
    assert list(rows[0]) == ["unique_id", "ds", "y_0.1", "y_0.5", "y_0.9"]
    assert [row["unique_id"] for row in rows] == ["a"] * HORIZON + ["b"] * HORIZON
    assert rows[HORIZON]["ds"] == "2024-01-01 09:00:00"
    for row in rows:
        assert float(row["y_0.1"]) <= float(row["y_0.5"]) <= float(row["y_0.9"])


def test_days_are_written_without_an_hour(ahead_of):
    days = [f"2026-03-{day:02}" for day in range(1, 31)]
    daily = {"ds": days, "y": daily_wave(30).tolist()}
    assert [row["ds"] for row in rows_of(ahead_of(daily, learned=daily))] == [
        "2026-03-31",
        "2026-04-01",
        "2026-04-02",
        "2026-04-03",
    ]


def test_without_times_rows_are_counted(ahead_of):
    plain = {"y": daily_wave(30).tolist()}
    assert [row["ds"] for row in rows_of(ahead_of(plain, learned=plain))] == [
        "31",
        "32",
        "33",
        "34",
    ]


def test_a_series_without_a_value_is_left_out_and_named(ahead_of):
    two = {
        "unique_id": ["a"] * ROWS + ["empty"] * ROWS,
        "ds": hours(ROWS) * 2,
        "y": [*table()["y"], *[None] * ROWS],
    }
    ahead = ahead_of(two)
    assert [ahead.name(k) for k in range(len(ahead))] == ["a"]
    assert any("without a forecast: empty" in note for note in ahead.notes)


def test_columns_known_ahead_are_read_from_the_rows_that_follow(ahead_of):
    def with_holidays(last):
        other = table(holiday=[0, 1] * (ROWS // 2 - 2) + last)
        other["y"][-HORIZON:] = [None] * HORIZON
        return ahead_of(other, learned=table(holiday=[0, 1] * (ROWS // 2)), future=("holiday",))

    one, other = (with_holidays(last).found.quantiles for last in ([0, 0, 0, 0], [0, 0, 1, 1]))
    assert np.array_equal(one[:, :2], other[:, :2])
    assert not np.isclose(one[:, 2:], other[:, 2:]).any()


REFUSED = {
    "known too short": ({**table(), "holiday": [1] * ROWS}, ("0 steps after", "add 4 rows")),
    "no target": ({"ds": hours(ROWS), "holiday": [1] * ROWS}, ("y",)),
    "no dates": ({"y": [1.0] * ROWS, "holiday": [1] * ROWS}, ("without dates", "called ds")),
    "another step": (
        {**table(), "holiday": [1] * ROWS, "ds": hours(2 * ROWS)[::2]},
        ("every 7200 seconds", "every 3600 seconds"),
    ),
    "no value": ({**table(), "y": [None] * ROWS, "holiday": [1] * ROWS}, ("no value in 'y'",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_series_that_cannot_be_forecast_are_told(ahead_of, case):
    other, said = REFUSED[case]
    with pytest.raises(InputError) as told:
        ahead_of(other, learned=table(holiday=[0, 1] * (ROWS // 2)), future=("holiday",))
    for words in said:
        assert words in str(told.value)


def test_a_chart_shows_past_forecast_and_times(ahead_of):
    drawn = chart(ahead_of(table()), 0, width=60).splitlines()
    assert max(map(len, drawn)) <= 60
    assert {"•", "●", "░", "│"} <= set("".join(drawn))
    assert drawn[-1].split() == ["2024-01-03", "00:00:00", "2024-01-03", "15:00:00"]
    assert sum(line.count("●") for line in drawn) == HORIZON


@pytest.mark.parametrize("width", [1, 7, 20])
def test_a_chart_of_any_width_can_be_drawn(ahead_of, width):
    assert "●" in chart(ahead_of(table()), 0, width=width)


def test_what_never_changes_can_be_drawn(ahead_of):
    flat = {"ds": hours(ROWS), "y": [0.0] * ROWS}
    ahead = ahead_of(flat, learned=flat)
    assert "•" in chart(ahead, 0)
    assert "<svg" in draw_forecasts(ahead).svg


def test_a_drawing_names_series_and_targets(ahead_of):
    two = {
        "unique_id": ["$north$"] * ROWS + ["south"] * ROWS,
        "ds": hours(ROWS) * 2,
        "y": table()["y"] * 2,
    }
    svg = draw_forecasts(ahead_of(two)).svg
    for words in ("$north$ · y", "south · y", "0.1 – 0.9", "forecast", "known"):
        assert words in svg
