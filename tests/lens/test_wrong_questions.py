"""What a newcomer gets wrong is told at once, with what to write instead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.lens import (
    GradientFlow,
    MemoryHorizon,
    Saturation,
    ablate,
    compare,
    find_peaks,
    find_units,
    gradient_flow,
    hold,
    kept_shares,
    label_text,
    load,
    memory_horizon,
    read_passage,
    retention,
    saturation,
    silenced_units,
    watch,
)

LAYER, X = gw.nn.LSTM(3, 4), torch.randn(9, 2, 3)
DELAYED = gw.cell(sizes={"old": "input"}, output=True)(lambda x, old: (gw.linear("y", old), x))
DELAY = gw.nn.Recurrent(DELAYED, 3, 3)
LABELS = {"a": np.zeros((9, 2))}

WRONG = {
    "batches that are no pairs": (
        lambda: find_units(LAYER, [X, X]), TypeError, "a batch is a Tensor; expected a pair"),
    "labels without names": (
        lambda: find_units(LAYER, [(X, [1])]), TypeError, "a mapping from names of properties"),
    "an unknown value": (
        lambda: find_units(LAYER, [(X, LABELS)], values="cc"), ValueError, "did you mean 'c'"),
    "no streams": (lambda: next(label_text(b"a", streams=0)), ValueError, "at least 1 of each"),
    "a str": (lambda: next(label_text("a")), TypeError, r"the text is str; .*text.encode"),
    "floats": (lambda: next(label_text(X)), TypeError, r"the text is torch.float32 \[9, 2, 3\]"),
    "a folder": (lambda: load("/"), ValueError, "is no measurement"),
    "nowhere": (
        lambda: saturation(LAYER, [X]).save("/none/x"), OSError, "cannot be written .*: '/none/x'"),
    "pins as a list": (
        lambda: hold(LAYER, ["f"]).__enter__(), TypeError, "pins is a list; expected a mapping"),
    "a metric of words": (lambda: ablate(LAYER, lambda m: "x"), TypeError, "gave a str"),
    "a metric of many": (lambda: ablate(LAYER, lambda m: m(X)[0]), TypeError, "one number"),
    "half a step": (lambda: retention(LAYER, [X], lags=[0.5]), ValueError, "whole numbers"),
    "a number of lags": (lambda: retention(LAYER, [X], lags=5), ValueError, "lags = 5; expected"),
    "no lags": (lambda: retention(LAYER, [X], lags=[]), ValueError, "lags is empty"),
    "no sequences to look back in": (
        lambda: memory_horizon(LAYER, [X[:, :0]], 3), ValueError, "has no steps"),
    "no sequences to differentiate": (
        lambda: gradient_flow(LAYER, [X[:, :0]]), ValueError, "has no steps"),
    "an unknown state's growth": (
        lambda: gradient_flow(LAYER, [X]).verdict("l0.x"), ValueError, "no state named 'l0.x'"),
    "an unknown state's time": (
        lambda: retention(LAYER, [X]).time_constant("c"), ValueError, "it has l0.h, l0.c"),
    "no horizons": (lambda: MemoryHorizon.of_runs([]), ValueError, "at least one"),
    "a unit as text": (
        lambda: find_peaks(LAYER, [X], ["l0.c[1]"]), TypeError, r"such as \(\"l0.c\", 5\)"),
    "a lag as text": (lambda: memory_horizon(LAYER, [X], "3"), TypeError, "max_lag is '3'; exp"),
    "half a lag": (lambda: memory_horizon(LAYER, [X], 2.5), TypeError, "max_lag is 2.5; expected"),
    "rows as a number": (
        lambda: memory_horizon(LAYER, [X], 3, rows=3), TypeError, "rows is a int; expected a func"),
    "no model": (lambda: memory_horizon(3, [X], 3), TypeError, "model is a int; expected"),
    "samples as text": (
        lambda: gradient_flow(LAYER, [X], samples="a"), TypeError, "samples is 'a'; expected"),
    "a loss as a number": (lambda: gradient_flow(LAYER, [X], 3), TypeError, "loss is a int"),
    "a run as a number": (lambda: saturation(LAYER, [X], run=3), TypeError, "run is a int; exp"),
    "a metric as a number": (lambda: ablate(LAYER, 3), TypeError, "metric is a int; expected"),
    "changes as a number": (
        lambda: ablate(LAYER, lambda m: 1.0, 3), TypeError, "changes is a int; expected a mapping"),
    "units as a number": (lambda: silenced_units(LAYER, 3), TypeError, "units is a int; expected"),
    "units as texts": (lambda: silenced_units(LAYER, ["a"]), TypeError, "unit is 'a'; expected a"),
    "values as a number": (
        lambda: find_units(LAYER, [(X, LABELS)] * 2, values=3), TypeError, "values is a int"),
    "peaks of a number": (lambda: find_peaks(LAYER, [X], 3), TypeError, "units is a int; expect"),
    "peaks of no pair": (
        lambda: find_peaks(LAYER, [X], [3]), TypeError, "a unit is given as 3; expected a pair"),
    "a count as text": (
        lambda: find_peaks(LAYER, [X], [("l0.c", 1)], count="x"), TypeError, "count is 'x'"),
    "one run for two": (
        lambda: compare(LAYER, LAYER, [X], runs=(1,)), TypeError, "expected a pair of functions"),
    "lags as text": (lambda: retention(LAYER, [X], lags="abc"), ValueError, "lags = abc; expected"),
    "no number as a lag": (
        lambda: retention(LAYER, [X], lags=[np.nan]), ValueError, "expected whole numbers"),
    "names as a number": (lambda: watch(LAYER, 3).__enter__(), TypeError, "names is a int; expect"),
    "a trace without gates": (
        lambda: read_passage("a", {}, gw.cells.lstm), ValueError, "no traced value named 'i'"),
    "no cell": (lambda: read_passage("a", {}, 3), TypeError, "expected a cell, .* got int"),
    "streams as text": (
        lambda: next(label_text(b"a", streams="x")), TypeError, "streams is 'x'; expected"),
    "no cells to compare": (
        lambda: gw.equivalent(gw.cells.lstm, 2), TypeError, "equivalent expects a cell"),
    "nothing to saturate": (
        lambda: saturation(DELAY, [X]), ValueError, "nothing that could be saturated"),
    "no state to follow": (
        lambda: gradient_flow(DELAY, [X]), ValueError, "no state that a step computes"),
    "backwards": (
        lambda: kept_shares(LAYER, X).between("l0.c", 5, 2), ValueError, "no way from step 5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_question_is_answered(name):
    ask, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        ask()


# ---- values that are not finite ----------------------------------------------------------------


def nan_input(value):
    def spoil(model, x):
        x[4, 1, 2] = value
        return model, x

    return spoil


def nan_weight(model, x):
    with torch.no_grad():
        model.weight_hh_l0[0, 0] = torch.nan
    return model, x


def overflowing(model, x):
    with torch.no_grad():
        model.weight_hh_l0.fill_(torch.inf)
    return model, x


SPOILT = {
    "a NaN in the batch": nan_input(torch.nan),
    "an infinity in the batch": nan_input(torch.inf),
    "a NaN in a weight": nan_weight,
    "an infinite weight": overflowing,
}
TAKEN = {
    "saturation": lambda m, x: saturation(m, [X, x]),
    "retention": lambda m, x: retention(m, [x]),
    "kept shares": lambda m, x: kept_shares(m, x),
    "units": lambda m, x: find_units(m, [(X, LABELS), (x, LABELS)]),
    "peaks": lambda m, x: find_peaks(m, [x], [("l0.h", 1)]),
    "horizon": lambda m, x: memory_horizon(m, [x], 3),
    "flow": lambda m, x: gradient_flow(m, [x]),
    "compare": lambda m, x: compare(gw.nn.GRU(3, 4), m, [x]),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_nothing_is_measured_of_what_is_not_finite(kind, take, spoil):
    options = {"nonlinearity": "relu"} if kind == "RNN" else {}
    model, x = spoil(getattr(gw.nn, kind)(3, 4, **options), X.clone())
    with pytest.raises(ValueError, match=r"values that are not finite"):
        take(model, x)


def test_what_is_not_finite_is_named():
    x = X.clone()
    x[4, 1, 2] = torch.nan
    with pytest.raises(
        ValueError, match=r"the input of the layer has 1 of 54 .* in batch 1; gatework.doctor"
    ):
        saturation(gw.nn.RNN(3, 4), [X, x])
    with pytest.raises(ValueError, match="h has 20 of 36 values that are not finite"):
        read_passage("123456789", gw.nn.RNN(3, 4).trace(x[:, 1:]), gw.cells.rnn)
    with pytest.raises(ValueError, match=r"1.weight_hh_l0 has 1 of 64"):
        retention(torch.nn.Sequential(torch.nn.Identity(), nan_weight(gw.nn.LSTM(3, 4), X)[0]), [X])
    with pytest.raises(ValueError, match=r"the metric of the model as it is is nan"):
        ablate(LAYER, lambda m: float("nan"))


def test_padding_may_be_anything():
    x = X.clone()
    x[7:, 1] = torch.nan
    found = saturation(LAYER, [x], run=lambda m, b: m(b, lengths=[9, 7]))
    assert found.steps == 16
    assert all(np.isfinite(v).all() for v in found.mean.values())
    flow = gradient_flow(LAYER, [x], lambda m, b: m(b, lengths=[9, 7])[0].sum(), samples=0)
    assert np.isfinite(flow.norms["l0.c"]).all()


def test_a_gradient_beyond_what_floats_hold_explodes():
    layer = gw.nn.RNN(1, 2, nonlinearity="relu", bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.tensor([[1e10, 0.0], [0.0, 0.0]]))  # inf * 0 is NaN
        layer.weight_ih_l0.fill_(1.0)
    x = torch.zeros(6, 1, 1)
    x[0] = 1e-30  # the state grows to 1e20, the gradient to 1e50
    found = gradient_flow(layer, [x], samples=1)
    assert np.isinf(found.norms["l0.h"]).any()
    assert not np.isnan(found.norms["l0.h"]).any()
    assert found.verdict("l0.h") == "exploding"
    with pytest.raises(ValueError, match=r"the gradient of the output has .* not finite"):
        memory_horizon(layer, [x], 5)
    flow = GradientFlow(
        norms={"l0.h": np.array([[1.0, 1e30, np.inf]])}, spectral_radius={"l0": np.ones(1)}
    )
    assert flow.growth("l0.h") == np.inf
    assert flow.verdict("l0.h") == "exploding"


def test_changes_that_break_the_metric_come_first():
    values = iter([1.0, 1.5, float("nan"), 9.0])
    changes = {name: {"f": 1.0} for name in "abc"}
    found = ablate(LAYER, lambda m: next(values), changes)
    assert [name for name, _ in found.largest()] == ["b", "c", "a"]


def test_a_horizon_that_is_not_finite_has_no_reach():
    influence = np.ones((3, 5))
    influence[1, 2] = np.nan
    with pytest.raises(ValueError, match="not finite at some lags"):
        MemoryHorizon(influence).reach()


def test_shares_at_the_bound_count():
    shares = {"l0.f": np.array([0.99, 0.98, 1.0])}
    found = Saturation(
        steps=100, left=shares, right=shares, mean=shares, deviation=shares, gates=("l0.f",)
    )
    assert found.always_open()["l0.f"].tolist() == [0, 2]
    assert found.always_closed()["l0.f"].tolist() == [0, 2]
    assert found.always_open(0.98)["l0.f"].tolist() == [0, 1, 2]


def test_one_name_may_stand_alone():
    with watch(LAYER, "f.pre") as readings:
        LAYER(X)
    assert list(readings[0].values()) == ["l0.f.pre"]
    assert list(LAYER.trace(X, names="f.pre")) == ["f.pre"]
    found = find_units(LAYER, [(X, LABELS)] * 2, values="c")  # the same batch twice is two batches
    assert list(found.correlation) == ["l0.c"]
    assert found.steps == found.held_out_steps == 18


def test_one_sequence_without_a_batch_is_a_batch_of_one():
    alone = X[:, 0]
    found, expected = (memory_horizon(LAYER, [x], 5) for x in (alone, X[:, :1]))
    np.testing.assert_allclose(found.influence, expected.influence, rtol=1e-5)
    found, expected = (gradient_flow(LAYER, [x], samples=0) for x in (alone, X[:, :1]))
    np.testing.assert_allclose(found.norms["l0.c"], expected.norms["l0.c"], rtol=1e-5)
    assert kept_shares(LAYER, alone).shares["l0.c"].shape == (9, 1, 4)


def test_rows_to_look_back_from_may_be_single_units():
    found = memory_horizon(LAYER, [X], 5, rows=lambda result: result[0][-1, :, 2])
    expected = memory_horizon(LAYER, [X], 5, rows=lambda result: result[0][-1, :, 2:3])
    np.testing.assert_allclose(found.influence, expected.influence)
