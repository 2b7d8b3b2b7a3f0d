"""Measurements of models that read more than one input: a batch is a mapping."""

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw
from gatework.lens import carry_state

T, B, I, H = 12, 3, 4, 5


class Model(nn.Module):
    """A layer of CfC cells on a layer that reads no gap."""

    def __init__(self):
        super().__init__()
        self.below = gw.nn.GRU(I, I)
        self.timed = gw.nn.Recurrent(gw.cells.cfc, I, H)

    def forward(self, x, gap):
        return self.timed(self.below(x)[0], gap=gap)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model()


@pytest.fixture
def batches():
    torch.manual_seed(1)
    return [{"x": torch.randn(T, B, I), "gap": torch.rand(T, B)} for _ in range(3)]


def run(model, batch):
    return model(batch["x"], batch["gap"])


MEASURED = {
    "saturation": gw.lens.saturation,
    "retention": lambda m, b, **o: gw.lens.retention(m, b, lags=[1, 3], **o),
    "horizon": lambda m, b, **o: gw.lens.memory_horizon(m, b, 5, **o),
    "kept shares": lambda m, b, **o: gw.lens.kept_shares(m, b[0], **o),
    "units": lambda m, b, **o: gw.lens.find_units(
        m, [(part, {"first": part["x"][..., 0].numpy()}) for part in b], **o
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_items_of_a_mapping_are_arguments_by_name(name, model, batches):
    found, expected = (MEASURED[name](model, batches, **o) for o in ({}, {"run": run}))
    for field in found.axes():
        have, want = getattr(found, field), getattr(expected, field)
        if isinstance(want, dict):
            assert list(have) == list(want)
            have, want = (np.concatenate([v.ravel() for v in d.values()]) for d in (have, want))
        np.testing.assert_array_equal(have, want)


def test_gradient_flow_and_comparison(model, batches):
    flow = gw.lens.gradient_flow(model, batches)
    assert {"below.l0.h", "timed.l0.h"} <= set(flow.norms)
    assert all(np.isfinite(radius).all() for radius in flow.spectral_radius.values())
    same = gw.lens.compare(model, model, batches)
    assert same.similarity["timed.l0.h"].item() == pytest.approx(1.0)


def test_a_jacobian_sees_what_is_read_once_for_a_sequence():
    @gw.cell(given={"speaker": "1"})
    def fading(x, gap, speaker, /, h):
        return speaker * h / (1 + gap) + gw.linear("n", x)

    layer = gw.nn.Recurrent(fading, I, H)
    batch = {
        "input": torch.randn(T, B, I),
        "gap": torch.full((T, B), 0.25),
        "speaker": torch.ones(B),
    }
    flow = gw.lens.gradient_flow(layer, [batch])
    np.testing.assert_allclose(flow.spectral_radius["l0"], 0.8, rtol=1e-6)


def test_the_state_is_carried_beside_them(batches):
    layer = gw.nn.Recurrent(gw.cells.cfc, I, H)
    whole = {n: torch.cat([b[n] for b in batches]) for n in ("x", "gap")}
    expected = gw.lens.saturation(layer, [{"input": whole["x"], "gap": whole["gap"]}])
    found = gw.lens.saturation(layer, batches, run=carry_state())
    np.testing.assert_allclose(found.right["l0.f"], expected.right["l0.f"], atol=1e-6)


def test_values_are_held_and_watched(model, batches):
    with gw.lens.hold(model, {"timed.l0.f": 0.5}), gw.lens.watch(model, ("f",)) as readings:
        run(model, batches[0])
    values = {n: v for reading in readings for n, v in reading.values().items()}
    assert (values["timed.l0.f"] == 0.5).all()


def test_a_function_is_measured_on_tensors():
    with pytest.raises(TypeError, match="a function is measured on tensors, got a batch of dict"):
        gw.lens.memory_horizon(lambda x: (x, None), [{"x": torch.randn(9, 1, 2)}], 3)
