"""What a newcomer gets wrong is told at once, with what to write instead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.lens import (
    MemoryHorizon,
    ablate,
    find_peaks,
    find_units,
    gradient_flow,
    hold,
    kept_shares,
    label_text,
    load,
    memory_horizon,
    retention,
    saturation,
    watch,
)

LAYER, X = gw.nn.LSTM(3, 4), torch.randn(9, 2, 3)
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
        lambda: saturation(LAYER, [X]).save("/none/x"), OSError, "'/none/x' cannot be written"),
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
    "backwards": (
        lambda: kept_shares(LAYER, X).between("l0.c", 5, 2), ValueError, "no way from step 5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_question_is_answered(name):
    ask, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        ask()


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
