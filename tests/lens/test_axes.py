"""States with axes: what is measured of their units, told of heads."""

import math

import numpy as np
import pytest
import torch

import gatework as gw
from gatework import lens
from gatework.lens.axes import axis_lengths, label

H, K, V, STEPS, B = 2, 3, 4, 30, 5
TRAITS = ("delta_net", "gated_delta_net", "gla", "mlstm", "mamba2")


def layer_of(name, **more):
    torch.manual_seed(0)
    cell = gw.cells.catalogue()[name]
    own = {"head": H, "key": K, "mode": K, "value": V}
    sizes = {axis: own[axis] for axis in cell.axis_names()}
    return gw.nn.Recurrent(cell, 6, **sizes, **more)


def batch(steps=STEPS):
    return torch.randn(steps, B, 6, generator=torch.Generator().manual_seed(1))


def gated(levels):
    """A gated delta net whose heads keep as much as is said at every step."""
    layer = layer_of("gated_delta_net")
    (bias,) = (getattr(layer, n) for n, p in layer.named_parameters() if n.startswith("bias"))
    spans = layer.cell.parameters[1].spans(layer.sizes(0))
    with torch.no_grad():
        layer.weight_ih_l0[layer.cell.parameters[0].spans(layer.sizes(0))["a"]] = 0
        bias[spans["a"]] = torch.logit(torch.tensor(levels))
    return layer


def test_it_is_known_which_head_remembers_longest():
    layer = gated([0.5, 0.9])
    found = lens.retention(layer, [batch()], lags=[1, 4])
    assert found.mean["l0.S"].shape == (H * K * V,)
    assert found.lengths == {"l0.S": {"head": H, "key": K, "value": V}}
    heads = found.along("head")
    np.testing.assert_allclose(heads.mean["l0.S"], [0.5, 0.9], rtol=1e-5)
    np.testing.assert_allclose(heads.survival["l0.S"], [[0.5, 0.9], [0.5**4, 0.9**4]], rtol=1e-5)
    expected = [-1 / math.log(0.5), -1 / math.log(0.9)]
    np.testing.assert_allclose(heads.time_constant("l0.S"), expected, rtol=1e-5)
    assert heads.lengths == {"l0.S": {"head": H}}
    shares = lens.kept_shares(layer, batch())
    assert shares.shares["l0.S"].shape == (STEPS, B, H * K * V)
    np.testing.assert_allclose(shares.along("head").shares["l0.S"][3, 1], [0.5, 0.9], rtol=1e-5)


def test_several_axes_may_be_kept():
    found = lens.retention(gated([0.5, 0.9]), [batch()], lags=[1])
    both = found.along("head", "key")
    np.testing.assert_allclose(both.mean["l0.S"], [0.5] * K + [0.9] * K, rtol=1e-5)
    assert both.lengths["l0.S"] == {"head": H, "key": K}


def test_gates_of_heads_and_of_heads_and_keys_are_averaged():
    layer = layer_of("gla")
    found = lens.saturation(layer, [batch()])
    decay = layer.trace(batch())["decay"].detach().unflatten(-1, (H, K))
    heads = found.along("head")
    expected = decay.mean((0, 1, 3)).numpy()
    np.testing.assert_allclose(heads.mean["l0.decay"], expected, rtol=1e-5)
    np.testing.assert_allclose(
        heads.right["l0.decay"], (decay > 0.9).double().mean((0, 1, 3)).numpy(), rtol=1e-6
    )
    assert found.along("value").gates == ()  # the gate lacks it
    assert list(found.along("value").mean) == ["l0.S"]


@pytest.mark.parametrize("name", TRAITS)
def test_every_measurement_along_an_axis_is_saved_and_drawn(name, tmp_path):
    first, second = lens.measure(
        layer_of(name), [batch()], lens.SaturationMeter(), lens.RetentionMeter([1, 3])
    )
    for found in (first, second, first.along("head"), second.along("head")):
        path = tmp_path / f"{type(found).__name__}.safetensors"
        found.save(path)
        assert lens.load(path).lengths == found.lengths
        assert "<svg" in found.plot().svg


def test_an_axis_that_no_value_has_is_refused():
    found = lens.saturation(gw.nn.LSTM(6, 4), [batch()])
    with pytest.raises(ValueError, match=r"no value has the axes 'head'.*no state of these"):
        found.along("head")
    found = lens.saturation(layer_of("delta_net"), [batch()])
    with pytest.raises(ValueError, match=r"the axes 'word'; expected some of head, key, value"):
        found.along("word")
    with pytest.raises(ValueError, match=r"no axis named 'word'"):
        lens.memory_horizon(layer_of("delta_net"), [batch()], 4, axis="word")


def test_the_horizon_of_a_head_is_that_of_its_part_of_the_state():
    layer = gated([0.2, 0.95])
    found = lens.memory_horizon(layer, [batch()], 20, probes=16, axis="head")
    whole = found.states["l0.S"] ** 2
    parts = [found.states[f"l0.S[head {k}]"] ** 2 for k in range(H)]
    assert found.of_state("l0.S[head 0]").reach() < found.of_state("l0.S[head 1]").reach()
    exact = lens.memory_horizon(layer, [batch()], 20, probes=32, axis="head")
    np.testing.assert_allclose(
        exact.states["l0.S"] ** 2,
        sum(exact.states[f"l0.S[head {k}]"] ** 2 for k in range(H)),
        rtol=1e-4,
    )
    assert whole.shape == parts[0].shape == (B, 21)


def test_a_silenced_head_is_zero_in_state_and_output_and_others_are_not():
    layer = layer_of("delta_net")
    (pins,) = lens.silenced_units(layer, [1], axis="head").values()
    with lens.hold(layer, pins):
        trace = layer.trace(batch())
    for name in ("S", "output"):
        values = trace[name].unflatten(-1, (H, -1))
        assert not values[..., 1, :].any()
        assert bool(values[..., 0, :].any())
    plain = layer.trace(batch())["S"].unflatten(-1, (H, -1))
    torch.testing.assert_close(plain[..., 0, :], trace["S"].unflatten(-1, (H, -1))[..., 0, :])


def test_ablation_tells_which_head_counts():
    layer = layer_of("gated_delta_net")
    metric = lambda model: model(batch())[0].unflatten(-1, (H, V))[..., 1, :].square().mean()  # noqa: E731
    found = lens.ablate(layer, metric, lens.silenced_units(layer, axis="head"))
    assert found.changes == ("l0[head 0]", "l0[head 1]")
    assert found.difference[0] == 0
    assert found.metric[1] == 0
    assert len(lens.silenced_units(layer, axis="head")) == H
    gates = lens.ablate(layer, metric, lens.held_gates(layer, "head"))
    assert gates.changes[:2] == ("l0.a[head 0] = 0", "l0.a[head 0] = 1")
    assert gates.difference[0] == 0
    assert gates.difference[2] != 0


def test_an_axis_that_cannot_be_silenced_is_refused():
    with pytest.raises(ValueError, match=r"no gate has the axis 'key'; expected one of head"):
        lens.held_gates(layer_of("delta_net"), "key")
    with pytest.raises(
        ValueError, match=r"no output or state has the axis 'head'; expected .*none"
    ):
        lens.silenced_units(gw.nn.LSTM(3, 4), axis="head")


def test_units_are_told_by_their_place_on_each_axis():
    x = batch()
    parts = [(part, {"first": part[..., 0].numpy()}) for part in x.split(15)]
    found = lens.find_units(layer_of("gla"), parts)
    best = found.best("first", 1)[0]
    own = axis_lengths("head,key,value", {"head": H, "key": K, "value": V})
    assert found.label(best.value, best.unit) == label(own, best.unit)
    assert label(own, 1 * K * V + 2 * V + 3) == "head 1, key 2, value 3"


def test_of_wide_states_units_are_found_without_a_probe(monkeypatch):
    x = batch(40)
    parts = [(part, {"first": part[..., 0].numpy()}) for part in x.split(10)]
    narrow = lens.find_units(layer_of("gla"), parts, values=("S", "output"))
    monkeypatch.setattr("gatework.lens.units.MOST_PROBED", H * V)
    wide = lens.find_units(layer_of("gla"), parts)
    assert set(wide.probe) == {"l0.output"}
    for name in ("l0.S", "l0.output"):
        for one in ("correlation", "held_out"):
            np.testing.assert_allclose(
                getattr(wide, one)[name], getattr(narrow, one)[name], rtol=1e-4, atol=1e-5
            )


def test_the_spectral_radius_of_many_units_is_that_of_few(monkeypatch):
    layer = gated([0.3, 0.8]).double()
    x = [batch().double()]
    whole = lens.gradient_flow(layer, x, samples=2).spectral_radius["l0"]
    monkeypatch.setattr("gatework.lens.flow.MOST_UNITS", 5)
    estimated = lens.gradient_flow(layer, x, samples=2).spectral_radius["l0"]
    np.testing.assert_allclose(estimated, whole, rtol=1e-6)


def test_layers_above_have_their_own_lengths_in_both_directions():
    layer = layer_of("gated_delta_net", num_layers=2, bidirectional=True)
    found = lens.saturation(layer, [batch()])
    assert set(found.lengths) == {
        f"l{k}{d}.{n}" for k in (0, 1) for d in ("", "_reverse") for n in "abS"
    }
    assert found.along("head").mean["l1_reverse.a"].shape == (H,)


def test_the_similarity_of_many_units_is_estimated(monkeypatch):
    one, other = gated([0.5, 0.9]), gated([0.6, 0.95])
    exact = lens.compare(one, other, [batch()])
    monkeypatch.setattr("gatework.lens.comparison.MOST_UNITS", 20)
    found = lens.compare(one, other, [batch()])
    assert found.similarity["l0.S"] == pytest.approx(exact.similarity["l0.S"].item(), abs=0.15)
    np.testing.assert_allclose(found.correlation["l0.S"], exact.correlation["l0.S"], rtol=1e-6)
    np.testing.assert_allclose(found.mean["l0.S"], exact.mean["l0.S"])
    same = lens.compare(one, one, [batch()])
    assert same.similarity["l0.S"] == pytest.approx(1.0)
