"""Forecasts as a task: nothing held out is learned from, and what is asked for is what is done."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from forecasters import random_forecaster
from gatework.cells import gru
from gatework.errors import InputError
from gatework.nn import Recurrent
from gatework.tasks import Part
from gatework.tasks.forecasting.settings import ForecastSettings
from gatework.tasks.forecasting.task import ForecastTask
from series import daily_wave, hours

ROWS, HELD_OUT = 120, 24
make = {"horizon": 6, "context": 12, "held_out_steps": HELD_OUT}


def layers(features, **options):
    torch.manual_seed(0)
    return Recurrent(gru, features, 5, **options)


def table(seed: int = 0, *, changed_from: int | None = None, **more) -> dict:
    """An hourly table; from a row on everything may be another."""
    y = daily_wave(ROWS, seed=seed)
    wind = np.random.default_rng(seed + 1).standard_normal(ROWS)
    if changed_from is not None:
        y[changed_from:] = 1e3 + 7 * np.arange(ROWS - changed_from)
        wind[changed_from:] = -1e3
    return {"ds": hours(ROWS), "y": y.tolist(), "wind": wind.tolist(), **more}


def batches_of(task, series, count=4, **options):
    stream = task.batches(series, batch_size=8, window=64, seed=1, **options)
    return [stream.next() for _ in range(count)]


def same(one, other):
    """Whether two batches are the same to the last bit; missing is equal to missing."""
    parts = [(one.inputs, other.inputs), (one.targets, other.targets)]
    parts += [(one.more[name], other.more[name]) for name in one.more]
    return all(np.array_equal(a.numpy(), b.numpy(), equal_nan=True) for a, b in parts)


# ---- where a forecast begins


@pytest.mark.parametrize("seasons", [(8,), (3, 8)])
def test_an_untrained_model_says_last_season_and_a_rise_that_fades(loaded, seasons):
    task, series = loaded(table(), **make, season=seasons)
    model, row, horizon = task.make_model(layers, 0.0), 90, make["horizon"]
    found = task.forecast(model, series.windows, [(0, row)]).quantiles[0, :, 0]
    y, steps = np.array(table()["y"]), np.arange(1, horizon + 1)
    rise = (y[row] - y[row - 8]) * np.exp(-steps / horizon)
    assert found == pytest.approx((y[row + steps - 8] + rise)[:, None].repeat(3, 1), rel=1e-5)


def test_an_untrained_model_says_the_last_value_where_nothing_comes_again(loaded):
    without = {name: column for name, column in table().items() if name != "ds"}
    task, series = loaded(without, **make)
    found = task.forecast(task.make_model(layers, 0.0), series.windows, [(0, 90)]).quantiles
    assert found == pytest.approx(np.full_like(found, table()["y"][90]), rel=1e-5)


# ---- nothing of what is held out


def test_held_out_rows_change_nothing_that_is_learned(loaded):
    task, series = loaded(table(), **make)
    other_task, other = loaded(table(changed_from=ROWS - HELD_OUT), **make)
    assert task.understood == other_task.understood
    for one, two in zip(batches_of(task, series), batches_of(other_task, other), strict=True):
        assert same(one, two)


def test_the_last_row_to_learn_from_does_change_it(loaded):
    task, series = loaded(table(), **make)
    other_task, other = loaded(table(changed_from=ROWS - HELD_OUT - 1), **make)
    assert task.understood != other_task.understood
    pairs = zip(batches_of(task, series), batches_of(other_task, other), strict=True)
    assert not all(same(one, two) for one, two in pairs)


def test_a_forecast_is_made_of_nothing_that_comes_after(loaded):
    task, series = loaded(table(), **make)
    row = ROWS - HELD_OUT + 5
    model = random_forecaster(task)
    before = task.forecast(model, series.windows, [(0, row)]).quantiles
    values = np.array(series.sequences.values)
    values[row + 1 :] = 1e3
    later = replace(series.windows, sequences=replace(series.sequences, values=values))
    assert np.array_equal(before, task.forecast(model, later, [(0, row)]).quantiles)


def test_a_column_known_ahead_is_used_ahead_and_no_other_is(loaded):
    holiday = np.random.default_rng(5).standard_normal(ROWS).tolist()
    task, series = loaded(table(holiday=holiday), **make, future=("holiday",))
    model, row = random_forecaster(task), 60

    def forecast_with(column):
        values = np.array(series.sequences.values)
        values[row + 1 :, series.sequences.column(column)] += 1
        windows = replace(series.windows, sequences=replace(series.sequences, values=values))
        return task.forecast(model, windows, [(0, row)]).quantiles

    untouched = task.forecast(model, series.windows, [(0, row)]).quantiles
    assert np.array_equal(forecast_with("wind"), untouched)
    assert not np.array_equal(forecast_with("holiday"), untouched)


# ---- which windows


def test_what_comes_is_decided_by_position(loaded):
    task, series = loaded(table(), **make)
    straight = batches_of(task, series, 5)
    stream = task.batches(series, batch_size=8, window=64, seed=1)
    stream.position = 3
    assert stream.seen == 3 * 8
    assert same(stream.next(), straight[3])
    assert same(stream.next(), straight[4])
    assert not same(straight[0], straight[1])


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_parts_together_are_the_whole(loaded, ranks):
    task, series = loaded(table(), **make)
    (whole,) = batches_of(task, series, 1)
    parts = [batches_of(task, series, 1, part=Part(rank, ranks))[0] for rank in range(ranks)]
    assert torch.equal(torch.cat([part.inputs for part in parts], 1), whole.inputs)
    for name, tensor in whole.more.items():
        assert torch.equal(torch.cat([part.more[name] for part in parts], 1), tensor)


def test_every_window_to_learn_from_ends_before_the_cut(loaded):
    task, series = loaded(table(), **make)
    targets = {
        tuple(b.targets[-1, k, :, 0].tolist())
        for b in batches_of(task, series, 99)
        for k in range(8)
    }
    scaled = series.windows.scales[0].apply(series.sequences.values[:, :1])[:, 0]
    wanted = {tuple(scaled[k : k + 6].tolist()) for k in range(1, ROWS - HELD_OUT - 6 + 1)}
    assert targets == wanted
    assert series.sizes[0] == len(wanted)


def test_held_out_forecasts_cover_every_held_out_row_once(loaded):
    task, series = loaded(table(), **{**make, "held_out_steps": 21})
    found = task.forecast(random_forecaster(task), series.windows, task.held_out_places(series))
    truth = found.truth[..., 0].ravel()
    assert truth[~np.isnan(truth)] == pytest.approx(series.sequences.values[-21:, 0], rel=1e-5)
    assert np.isnan(truth).sum() == 3  # 4 times 6 steps for 21 rows
    assert series.sizes[1] == task.evaluated(series) == 4


# ---- many series, gaps, missing values


def many(**changes):
    """Three series, of unlike size and length."""
    lengths = {"a": 60, "b": 90, "tiny": 5}
    values = {
        name: daily_wave(n, size=10.0**k).tolist() for k, (name, n) in enumerate(lengths.items())
    }
    return {
        "unique_id": [name for name, n in lengths.items() for _ in range(n)],
        "ds": [time for n in lengths.values() for time in hours(n)],
        "y": [value for own in values.values() for value in own],
        **changes,
    }


def test_each_series_has_its_own_scale_and_no_window_crosses_into_another(loaded):
    task, series = loaded(many(), horizon=6, context=12, held_out_share=0.2)
    assert len(series.sequences) == 3
    means = [scale.means[0] for scale in series.windows.scales]
    assert means == pytest.approx([3, 30, 300], rel=0.2)
    for batch in batches_of(task, series):
        assert batch.targets.isfinite().float().mean() > 0.5
        assert batch.targets.nan_to_num().abs().max() < 6
        assert batch.inputs.abs().max() < 6


def test_units_of_a_series_change_its_forecasts_by_as_much(loaded):
    big = [1000 * y for y in many()["y"]]
    found = []
    for values in (many()["y"], big):
        task, series = loaded(many(y=values), horizon=6, context=12, held_out_share=0.2)
        found.append(task.forecast(random_forecaster(task), series.windows, [(1, 130)]).quantiles)
    assert found[1] == pytest.approx(1000 * found[0], rel=1e-4)


def test_a_gap_in_time_is_filled_with_what_is_not_known(loaded):
    whole = table()
    left = [k for k in range(ROWS) if not 50 <= k < 60]
    with_gap = {name: [column[k] for k in left] for name, column in whole.items()}
    task, series = loaded(with_gap, **make)
    assert len(series.sequences.values) == ROWS
    assert np.isnan(series.sequences.values[50:60]).all()
    assert any("10 rows missing in 1 gap" in note for note in series.notes)
    assert {"y is there", "wind is there"} <= set(task.features.names)
    (batch,) = batches_of(task, series, 1)
    predictions, _ = random_forecaster(task)(batch.inputs, **batch.more)
    assert predictions.isfinite().all()


def test_missing_values_cost_nothing(loaded):
    task, series = loaded(table(), **make)
    (batch,) = batches_of(task, series, 1)
    predictions, _ = random_forecaster(task)(batch.inputs, **batch.more)
    holes = batch.targets.clone()
    holes[:, ::2] = torch.nan
    some = task.loss(predictions, batch._replace(targets=holes))
    kept = task.loss(predictions[:, 1::2], batch._replace(targets=batch.targets[:, 1::2]))
    assert some.terms == kept.terms
    assert some.total.item() == pytest.approx(kept.total.item(), rel=1e-5)
    some.total.backward()


def test_held_out_forecasts_of_which_nothing_is_known_are_left_out(loaded):
    y = table()["y"]
    y[ROWS - 18 : ROWS - 6] = [None] * 12
    task, series = loaded({**table(), "y": y}, **make)
    rows = [row for _, row in task.held_out_places(series)]
    assert rows == [ROWS - HELD_OUT - 1, ROWS - 7]
    assert np.isfinite(task.evaluate(random_forecaster(task), series).cost)


# ---- figures


def test_the_loss_is_the_pinball_loss_worked_out_by_hand(loaded):
    task, series = loaded(table(), **make, quantiles=(0.2, 0.5))
    (batch,) = batches_of(task, series, 1)
    targets = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)
    predictions = torch.tensor([[2.0, 2.0], [0.0, 5.0]]).reshape(1, 2, 1, 1, 2)
    total, terms = task.loss(predictions, batch._replace(targets=targets))
    assert terms == 2
    assert total.item() == pytest.approx((0.8 * 1 + 0.5 * 1) / 2 + (0.2 * 3 + 0.5 * 2) / 2)


def test_the_naive_forecast_is_the_value_of_the_season_before(loaded):
    task, series = loaded(table(), **make, season=(4,))
    places = task.held_out_places(series)
    found = task.forecast(random_forecaster(task), series.windows, places)
    values = series.sequences.values[:, 0].astype(float)
    assert task.shape.lags == (8,)  # the season that is a whole horizon before
    for lag, wanted in ((0, lambda row, k: row), (8, lambda row, k: row + k - 8)):
        naive = task.naive(series, found, lag)
        for place, (_, row) in enumerate(places):
            rows = [wanted(row, k) for k in range(1, 7)]
            assert naive[place, :, 0] == pytest.approx(values[rows])


def test_an_evaluation_says_what_people_quote_beside_the_naive(loaded):
    task, series = loaded(table(), **make)
    figures = task.evaluate(random_forecaster(task), series).figures
    assert list(figures) == ["MAE", "MASE", "sMAPE", "inside 0.1–0.9"]
    found = task.forecast(random_forecaster(task), series.windows, task.held_out_places(series))
    apart = found.quantiles[..., task.median] - found.truth
    assert figures["MAE"] == pytest.approx(np.nanmean(np.abs(apart)))
    assert 0 <= figures["inside 0.1–0.9"] <= 1


def test_a_series_that_never_changes_can_be_learned(loaded):
    task, series = loaded({"ds": hours(ROWS), "y": [7.0] * ROWS}, **make)
    found = task.evaluate(random_forecaster(task), series)
    assert np.isfinite(found.cost)
    assert found.naive["MAE"] == 0


def test_quantiles_stand_in_their_order(loaded):
    task, series = loaded(table(), **make, quantiles=(0.05, 0.3, 0.5, 0.7, 0.95))
    found = task.forecast(random_forecaster(task), series.windows, task.held_out_places(series))
    assert (np.diff(found.quantiles, axis=-1) >= 0).all()


def test_several_targets_are_forecast_together(loaded):
    task, series = loaded(table(), **make, target=("y", "wind"))
    found = task.forecast(random_forecaster(task), series.windows, [(0, 60)])
    assert found.quantiles.shape == (1, 6, 2, 3)
    assert found.truth[0] == pytest.approx(series.sequences.values[61:67], rel=1e-4, abs=1e-5)


# ---- what is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quantiles": (0.9, 0.5)}, "--quantiles 0.5,0.9"),
        ({"quantiles": (0.1, 0.9)}, "--quantiles 0.1,0.5,0.9"),
        ({"quantiles": (0.5, 0.5)}, "--quantiles 0.5"),
        ({"horizon": 0}, "horizon"),
        ({"season": (0,)}, "season"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        ForecastSettings.of(**settings)


def test_a_file_to_judge_by_is_refused(loaded):
    with pytest.raises(InputError, match="--held-out-steps"):
        loaded(table(), held_out=("other.csv",))


def test_series_that_are_too_short_are_refused(loaded):
    with pytest.raises(InputError, match="96 rows to learn from"):
        loaded(table(), **{**make, "horizon": 96})


def test_nothing_to_measure_by_is_refused(loaded):
    y = [*table()["y"][: ROWS - HELD_OUT], *[None] * HELD_OUT]
    with pytest.raises(InputError, match="--held-out-steps 6"):
        loaded({**table(), "y": y}, **make)


def test_layers_that_read_backward_are_refused(loaded):
    task, _ = loaded(table(), **make)
    with pytest.raises(InputError, match="leave out --bidirectional"):
        task.make_model(partial(layers, bidirectional=True), 0.0)


def test_texts_that_hold_for_a_series_are_found_in_another_table(written):
    pytest.importorskip("polars")

    def of(*places):
        one = {k: v * 2 for k, v in table().items()}
        sites = {name: [p for p in places for _ in range(ROWS)] for name in ("unique_id", "place")}
        return written({**sites, **one})

    settings = ForecastSettings.of(**make, static=("place",))
    task, _ = ForecastTask.load(settings, (of("in", "out"),))
    assert task.features.static.names == ["place = in", "place = out"]
    _, series = ForecastTask.load(settings, (of("out", "roof"),), task)  # numbered otherwise
    known = [series.windows.window(k, ROWS * (k + 1) - 7).inputs[0, -2:] for k in range(2)]
    np.testing.assert_array_equal(known, [[0, 1], [0, 0]])
    batch = batches_of(task, series, 1)[0]
    assert torch.isfinite(random_forecaster(task)(batch.inputs, **batch.more)[0]).all()


DAMAGES = {
    "nothing": lambda u: u.clear(),
    "no targets": lambda u: u.update(targets=[]),
    "unknown target": lambda u: u.update(targets=["z"]),
    "target is a number": lambda u: u.update(targets=3),
    "unknown calendar": lambda u: u.update(calendar=["moon"]),
    "negative season": lambda u: u.update(seasons=[-1]),
    "season of text": lambda u: u.update(seasons=["week"]),
    "season is true": lambda u: u.update(seasons=[True]),
    "two contexts": lambda u: u.update(context=[3, 4]),
    "no context": lambda u: u.update(context=[]),
    "step of text": lambda u: u.update(step="hour"),
    "step of nothing": lambda u: u.update(step=float("nan")),
    "static is a number": lambda u: u["features"].update(static=7),
    "static without scaling": lambda u: u["features"].update(static={"columns": ["a"]}),
    "columns are a text": lambda u: u.update(features="y"),
    "unscaled": lambda u: u["features"].update(scaling={}),
    "scale of zero": lambda u: u["features"]["scaling"].update(scales=[0.0, 0.0]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_description_is_told(loaded, damage):
    task, _ = loaded(table(), **make)
    understood = deepcopy(task.understood)
    DAMAGES[damage](understood)
    with pytest.raises(InputError, match=r"restore its config\.yaml"):
        ForecastTask(task.settings, understood)


def test_what_was_understood_makes_the_same_task(loaded):
    task, series = loaded(table(), **make)
    again = ForecastTask(task.settings, deepcopy(task.understood))
    second = again.source(series.sequences, series.cuts)
    for one, two in zip(batches_of(task, series), batches_of(again, second), strict=True):
        assert same(one, two)
