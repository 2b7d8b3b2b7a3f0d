"""Gradient flow in recurrences whose growth is known, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.lens import GradientFlow, ablate, compare, gradient_flow, silenced_units


def leaky(decay: float) -> gw.nn.Recurrent:
    @gw.cell
    def leaky(x, h, *, decay=1.0):
        return decay * h + gw.linear("w", x)

    return gw.nn.Recurrent(leaky(decay=decay), 2, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("decay", "verdict"),
    [
        (0.5, "vanishing"),
        (0.94, "healthy"),
        (1.0, "healthy"),
        (1.05, "healthy"),
        (1.2, "exploding"),
    ],
)
def test_the_growth_of_a_leaky_integrator_is_its_decay(decay, verdict):
    flow = gradient_flow(leaky(decay), [torch.randn(40, 3, 2, dtype=torch.float64)])
    assert flow.growth("l0.h") == pytest.approx(decay)
    assert flow.verdict("l0.h") == verdict
    np.testing.assert_allclose(flow.spectral_radius["l0"], decay)
    np.testing.assert_allclose(flow.mean("l0.h"), np.sqrt(3) * decay ** np.arange(40))
    assert flow.verdict("l0.h", steps=10_000) == ("healthy" if decay == 1 else
        "vanishing" if decay < 1 else "exploding")  # fmt: skip


def test_a_reverse_layer_looks_at_later_steps():
    layer = gw.nn.GRU(2, 3, bidirectional=True)
    x = torch.randn(9, 2, 2)
    flow = gradient_flow(layer, [x], lambda model, x: model(x)[0][0].sum())
    assert (flow.mean("l0_reverse.h") > 0).all()
    assert flow.mean("l0.h")[:-1].sum() == 0  # the first step of the forward direction alone counts
    assert flow.mean("l0.h")[-1] > 0
    assert flow.verdict("l0.h") == "vanishing"


def test_steps_past_an_end_have_no_gradient():
    layer, x = gw.nn.LSTM(2, 3), torch.randn(9, 2, 2)
    flow = gradient_flow(layer, [x], lambda m, x: m(x, lengths=[9, 4])[0].sum(), samples=0)
    assert (flow.norms["l0.h"][1, :5] == 0).all()
    assert (flow.norms["l0.h"][1, 5:] > 0).all()
    assert flow.spectral_radius["l0"].shape == (0,)


def test_a_gradient_that_nothing_reaches_is_vanishing():
    flow = GradientFlow({"l0.h": np.zeros((2, 5))}, {})
    assert np.isnan(flow.growth("l0.h"))
    assert flow.verdict("l0.h") == "vanishing"


def test_a_step_that_reads_no_state_has_the_spectral_radius_zero():
    layer = gw.nn.Recurrent(gw.cell(lambda x, h: gw.tanh(gw.linear("n", x))), 2, 3)
    flow = gradient_flow(layer, [torch.randn(9, 2, 2)])
    assert (flow.spectral_radius["l0"] == 0).all()
    assert flow.verdict("l0.h") == "vanishing"


def test_measuring_leaves_the_model_as_it_was():
    layer, x = gw.nn.LSTM(2, 3, 2, dropout=0.5), torch.randn(9, 2, 2)
    before = {n: p.clone() for n, p in layer.named_parameters()}
    gradient_flow(layer, [x])
    assert layer.training
    assert "forward" not in layer.__dict__
    for name, parameter in layer.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


X = torch.randn(9, 2, 2)


@pytest.mark.parametrize(
    ("batches", "loss", "message"),
    [
        ([], None, "batches is empty"),
        ([X, X[:5]], None, "batches have 5, 9 steps; expected all of one number"),
        ([X], lambda m, x: m(x)[0], r"the loss has the shape \[9, 2, 3\]; expected one number"),
        ([X], lambda m, x: m(x)[0].detach().sum(), "expected one number that depends on"),
        ([X], lambda m, x: x.sum(), "without calling any"),
    ],
)
def test_what_cannot_be_measured_is_an_error(batches, loss, message):
    with pytest.raises(ValueError, match=message):
        gradient_flow(gw.nn.GRU(2, 3), batches, loss)


# ---- ablation and comparison -------------------------------------------------------------------


def test_silencing_finds_the_unit_that_matters():
    layer = gw.nn.GRU(2, 3)
    decoder = torch.tensor([0.0, 5.0, 0.0])
    told = []
    found = ablate(
        layer,
        lambda model: (model(X)[0][-1] @ decoder).square().mean().item(),
        silenced_units(layer),
        progress=told.append,
    )
    assert told == [1, 2, 3]
    assert found.largest(1)[0][0] == "l0[1]"
    assert found.metric[1] == 0
    assert found.difference[1] == -found.baseline
    assert list(silenced_units(gw.nn.LSTM(2, 4, proj_size=3), [2])) == ["l0[2]"]


def test_changes_that_name_nothing_are_an_error():
    with pytest.raises(ValueError, match="no value named 'q'"):
        ablate(gw.nn.GRU(2, 3), lambda model: 0.0, {"q": {"q": 0.0}})


def test_a_model_is_like_itself_rotated_and_unlike_another():
    torch.manual_seed(1)
    first, second = leaky(0.9).float(), leaky(0.9).float()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3))
    with torch.no_grad():
        second.weight_ih_l0.copy_(rotation @ first.weight_ih_l0)
        second.bias_ih_l0.copy_(rotation @ first.bias_ih_l0)
    x = torch.randn(50, 4, 2)
    found = compare(first, second, x.split(25))
    assert found.similarity["l0.h"] == pytest.approx(1, abs=1e-5)
    assert found.weights["weight_ih_l0"] > 0.1
    assert (np.abs(found.correlation["l0.h"]) < 0.999).any()
    same = compare(first, first, [x])
    assert (same.weights["weight_ih_l0"], same.steps) == (0, 200)
    np.testing.assert_allclose(same.correlation["l0.h"], 1, atol=1e-6)
    np.testing.assert_allclose(same.mean["l0.h"][0], same.mean["l0.h"][1])
    wide = compare(gw.nn.GRU(2, 3), gw.nn.GRU(2, 7), [x])
    assert list(wide.similarity) == ["l0.r", "l0.z", "l0.h"]
    assert wide.correlation == {}


@pytest.mark.parametrize(
    ("second", "batches", "message"),
    [
        (torch.nn.ModuleDict({"layer": gw.nn.GRU(2, 3)}), [X], "the models share no value"),
        (gw.nn.GRU(2, 3), [], "batches is empty"),
    ],
)
def test_models_that_cannot_be_compared_are_an_error(second, batches, message):
    runs = (lambda m, x: m(x), lambda m, x: m["layer"](x) if hasattr(m, "keys") else m(x))
    with pytest.raises(ValueError, match=message):
        compare(gw.nn.GRU(2, 3), second, batches, runs=runs)
