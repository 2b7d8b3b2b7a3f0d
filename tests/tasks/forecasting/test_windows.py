"""Windows against loops that look up one number after the other."""

from __future__ import annotations

import numpy as np
import pytest

from series import daily_wave, hours

FORECASTS, HORIZON, CONTEXT = 3, 4, 9


ASKED = {"horizon": HORIZON, "context": CONTEXT, "future": ("holiday",)}


@pytest.fixture
def task_and_series(loaded):
    return loaded(two_series(), **ASKED, season=(5,))


def two_series():
    """Two series of unlike size, one with gaps; a column known ahead and one of the past."""
    n = 60
    both = [daily_wave(n).tolist(), daily_wave(n, size=100, seed=1).tolist()]
    both[0][30] = both[0][31] = both[1][0] = None
    return {
        "unique_id": ["a"] * n + ["b"] * n,
        "ds": hours(n) * 2,
        "y": both[0] + both[1],
        "holiday": np.random.default_rng(2).integers(0, 2, 2 * n).tolist(),
        "wind": np.random.default_rng(3).standard_normal(2 * n).tolist(),
    }


def scaled(series, number):
    """The target of a series, by its own scale."""
    rows = series.sequences.rows(number)
    return series.windows.scales[number].apply(series.sequences.values[rows, :1])[:, 0]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("last", [0, 3, 20, 33, 57, 59])
def test_targets_are_the_values_that_follow(task_and_series, number, last):
    _, series = task_and_series
    first = series.sequences.starts[number]
    found = series.windows.window(number, int(first) + last, FORECASTS).targets
    values = scaled(series, number)
    for p in range(FORECASTS):
        for k in range(HORIZON):
            at = last - FORECASTS + 1 + p + 1 + k
            wanted = values[at] if 0 <= at < len(values) else np.nan
            assert np.array_equal(found[p, k, 0], wanted, equal_nan=True)


@pytest.mark.parametrize("seasons", [(5,), (5, 8)])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("last", [4, 20, 31, 33, 59])
def test_earlier_values_are_those_known_now_and_seasons_before(loaded, seasons, number, last):
    _, series = loaded(two_series(), **ASKED, season=seasons)
    first = series.sequences.starts[number]
    found = series.windows.window(number, int(first) + last, FORECASTS).earlier
    values = scaled(series, number)
    longest, shortest = seasons[-1], seasons[0]
    begin = last - (CONTEXT + FORECASTS - 2) - longest - shortest  # of what is looked at

    def known(at):
        """The last value known by then."""
        there = [v for v in values[max(begin, 0) : max(0, at + 1)] if not np.isnan(v)]
        return there[-1] if there else np.nan

    def higher(at):
        """How much more than a season before."""
        return known(at) - known(at - longest)

    def mean(rises):
        rises = [rise for rise in rises if not np.isnan(rise)]
        return np.mean(rises) if rises else 0.0

    for p in range(FORECASTS):
        now = last - FORECASTS + 1 + p
        for k in range(HORIZON):
            at = now + 1 + k
            wanted = [known(now), higher(now), mean([higher(now - j) for j in range(shortest)])]
            wanted += [higher(at - shortest)] if len(seasons) > 1 else []
            wanted += [known(at - season) for season in seasons]
            assert found[p, k, 0] == pytest.approx(np.nan_to_num(wanted), abs=1e-5)


@pytest.mark.parametrize("season", [(), (5,)])
def test_what_is_read_is_scaled_by_series_and_ends_where_the_forecast_begins(loaded, season):
    table = two_series()
    if not season:
        del table["ds"]  # whose calendar has seasons
    task, series = loaded(table, **ASKED, season=season)
    names = task.features.names
    for number in (0, 1):
        first = int(series.sequences.starts[number])
        inputs = series.windows.window(number, first + 25).inputs
        values = scaled(series, number)
        read = values[25 - CONTEXT + 1 : 26]
        if season:  # what it is more than a season before
            read = read - values[25 - CONTEXT + 1 - 5 : 26 - 5]
        assert len(inputs) == CONTEXT
        assert inputs[:, names.index("y")] == pytest.approx(read, abs=1e-5)


def test_nothing_is_learned_from_rows_without_a_season_before_them(loaded):
    task, series = loaded(two_series(), **ASKED, season=(5,))
    learned = int(series.cuts[0] - series.sequences.starts[0])
    assert series.sizes[0] == 2 * (learned - HORIZON - 5)
    batch = task.batches(series, batch_size=50, window=0, seed=0).next()
    assert batch.inputs.shape[1] == 50
    task, series = loaded(two_series(), **ASKED, season=(40,))  # too long for so short a series
    assert series.sizes[0] == 2 * (learned - HORIZON)


def test_what_is_known_ahead_is_that_of_the_steps_ahead(task_and_series):
    task, series = task_and_series
    rows = series.sequences.values[:, series.sequences.column("holiday")]
    place = task.features.columns.index("holiday")
    usual = task.features.scaling
    found = series.windows.window(1, 80, FORECASTS).ahead
    for p in range(FORECASTS):
        begin = 80 - FORECASTS + 2 + p
        wanted = (rows[begin : begin + HORIZON] - usual.means[place]) / usual.scales[place]
        assert found[p, :, 0] == pytest.approx(wanted, abs=1e-5)


def test_the_calendar_goes_on_where_rows_end(task_and_series):
    _, series = task_and_series
    inside = series.windows.window(0, 23).ahead[0, :, 1:]
    beyond = series.windows.window(0, 47 + 12).ahead[0, :, 1:]
    day = 6
    assert beyond.shape == (HORIZON, inside.shape[1])
    later = series.windows.window(0, 35).ahead[0, :, 1:]  # the same hour, a day before
    assert beyond[:, :day] == pytest.approx(later[:, :day], abs=1e-4)
