"""What is no cell, no mapping or no number is said, where it is given."""

import math

import numpy as np
import pytest

import gatework as gw
from gatework import rewriting

GRU = gw.cells.gru
WRONG = {
    "equivalent": (lambda: gw.equivalent(1, 2), TypeError, "equivalent expects a cell"),
    "equivalent, second": (lambda: gw.equivalent(GRU, "gru"), TypeError, "expects a cell"),
    "equivalent, layer": (
        lambda: gw.equivalent(GRU, gw.nn.GRU(3, 4)), TypeError, "the layer's: layer.cell; got GRU"
    ),
    "pin, large": (lambda: GRU.pin(z=10**400), ValueError, "must be finite, got a larger int"),
    "pin, larger": (lambda: GRU.pin(z=-(10**9000)), ValueError, "must be finite"),
    "pin, nan": (lambda: GRU.pin(z=math.nan), ValueError, "must be finite, got nan"),
    "pin, number": (lambda: GRU.pin(3), TypeError, "pin expects a mapping"),
    "pin, no name": (lambda: GRU.pin({3: 1.0}), TypeError, "by a string, got 3"),
    "changing": (lambda: GRU.changing(3), TypeError, "changing expects a mapping"),
    "observing": (lambda: GRU.observing(3), TypeError, "observing expects a mapping"),
    "observing, text": (lambda: GRU.observing({"a": "b"}), TypeError, "a value of the cell or"),
    "constant": (lambda: gw.cells.cornn(dt=10**400), ValueError, "must be finite"),
    "values in a list": (
        lambda: gw.cell(lambda x, h: gw.linear("n", [x, h])), ValueError, r"linear\(name, x, h\)"
    ),
    "a known condition": (
        lambda: gw.cell(lambda x, h: gw.where(True, x, h)), ValueError, "a if condition else b"
    ),
    "an axis by number": (
        lambda: gw.cell(lambda x, h: h - gw.mean(h, dim=-1)), ValueError, "name of an axis, .*-1"
    ),
    "sizes": (lambda: gw.cell(sizes=3)(lambda x, h: h), TypeError, "sizes= expects a mapping"),
    "zoneout": (lambda: rewriting.zoneout(GRU, {3: 0.1}), TypeError, "by a string, got 3"),
    "backend": (lambda: gw.use_backend(3).__enter__(), TypeError, "by a string, got 3"),
    "bias": (lambda: gw.nn.GRU(3, 4, forget_bias=10**400), ValueError, "must be finite"),
    "init": (lambda: gw.nn.init.orthogonal_(3), TypeError, "expected a layer or a step"),
    "init, bias": (lambda: gw.nn.init.forget_bias_(3, 1.0), TypeError, "expected a layer"),
    "layer": (lambda: gw.nn.Recurrent("gru", 3, 4), TypeError, "Recurrent expects a cell"),
    "step": (lambda: gw.nn.RecurrentCell(3, 3, 4), TypeError, "RecurrentCell expects a cell"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("name", ["layer_norm", "single_bias"])
def test_a_rewriting_of_no_cell_is_refused(name):
    with pytest.raises(TypeError, match=f"{name} expects a cell"):
        getattr(rewriting, name)(3)


@pytest.mark.parametrize("name", ["recurrent_dropout", "input_dropout", "weight_drop", "zoneout"])
@pytest.mark.parametrize("p", [0.0, 0.1])
def test_dropout_of_no_cell_is_refused(name, p):
    with pytest.raises(TypeError, match=f"{name} expects a cell"):
        getattr(rewriting, name)(3, p)


def test_a_number_of_numpy_is_a_number():
    assert gw.equivalent(GRU.pin(z=np.float32(0.5)), GRU.pin(z=0.5))
    assert gw.equivalent(GRU.pin(z=np.int64(1)), GRU.pin(z=1))


def test_zoneout_with_probability_zero_is_the_cell_itself():
    assert rewriting.zoneout(GRU, 0.0) is GRU
    assert rewriting.zoneout(gw.cells.lstm, {"c": 0}) is gw.cells.lstm
