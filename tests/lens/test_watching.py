"""Any model may be watched and held: results stay what they are, and nothing is left behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw
from gatework.lens import RetentionMeter, hold, measure, saturation, watch
from gatework.lens.saturation import SaturationMeter

T, B, I, H = 6, 3, 4, 5


class Tagger(nn.Module):
    """A layer that reads another's output, one that is used twice, and a decoder."""

    def __init__(self, **arguments) -> None:
        super().__init__()
        self.below = gw.nn.LSTM(I, H, bidirectional=True, **arguments)
        self.above = nn.ModuleList([gw.nn.GRU(2 * H, 2 * H, num_layers=2, **arguments)])
        self.decoder = nn.Linear(2 * H, 2)

    def forward(self, x):
        y, _ = self.below(x)
        for _ in range(2):
            y, _ = self.above[0](y)
        return self.decoder(y)


def test_watching_changes_no_result_and_sees_every_call():
    model, x = Tagger(), torch.randn(T, B, I)
    expected = model(x)
    with watch(model) as readings:
        found = model(x)
    torch.testing.assert_close(found, expected)
    assert [r.module for r in readings] == ["below", "above.0", "above.0"]
    below = readings[0].values()
    assert {"below.l0.f", "below.l0_reverse.f", "below.l0.c", "below.l0.f.pre"} <= set(below)
    trace = model.below.trace(x)
    torch.testing.assert_close(below["below.l0_reverse.f"], trace.layer(0).reverse["f"])
    assert readings[1].values()["above.0.l1.z"].shape == (T, B, 2 * H)
    assert torch.equal(model(x), expected)
    with watch(model) as readings:
        pass
    assert not readings


def test_after_an_error_nothing_is_watched():
    model = Tagger()
    with pytest.raises(RuntimeError, match="input_size"), watch(model):
        model(torch.randn(T, B, I + 1))
    assert "forward" not in model.below.__dict__
    with watch(model) as outer, watch(model, ("z",)) as inner:
        model(torch.randn(T, B, I))
    assert "forward" not in model.below.__dict__
    assert len(inner) == 3
    assert not outer  # the inner one stands in its place


def test_what_is_traced_is_part_of_the_graph_and_of_the_output():
    model, x = Tagger(), torch.randn(T, B, I)
    with watch(model, ("f",)) as readings:
        model(x)
    (gradient,) = torch.autograd.grad(
        readings[0].values()["below.l0.f"].sum(), model.below.weight_ih_l0
    )
    assert gradient.abs().sum() > 0


def test_dropout_and_training_mode_are_the_models():
    model = gw.nn.LSTM(I, H, num_layers=2, dropout=0.9)
    x = torch.randn(T, B, I)
    torch.manual_seed(1)
    expected, _ = model(x)
    torch.manual_seed(1)
    with watch(model):
        found, _ = model(x)
    torch.testing.assert_close(found, expected)
    saturation(model, [x])
    assert model.training


@pytest.mark.parametrize("batch_first", [False, True])
def test_layouts_give_the_same_measurements(batch_first):
    model, x = Tagger(batch_first=batch_first), torch.randn(T, B, I)
    plain = Tagger()
    plain.load_state_dict(model.state_dict())
    given = x.transpose(0, 1) if batch_first else x
    found, expected = saturation(model, [given]), saturation(plain, [x])
    assert found.steps == expected.steps
    for name, values in expected.mean.items():
        np.testing.assert_allclose(found.mean[name], values, rtol=1e-5)
    horizons = [gw.lens.memory_horizon(m, [d], 3) for m, d in ((model, given), (plain, x))]
    np.testing.assert_allclose(horizons[0].influence, horizons[1].influence, rtol=1e-4)
    for name in horizons[1].states:
        found, expected = (h.states[name] for h in horizons)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)
    flows = [gw.lens.gradient_flow(m, [d], samples=1) for m, d in ((model, given), (plain, x))]
    for name in flows[1].norms:
        np.testing.assert_allclose(flows[0].norms[name], flows[1].norms[name], rtol=1e-4, atol=1e-9)


def test_padding_is_left_out_however_it_is_told():
    model, x, lengths = gw.nn.LSTM(I, H, 2, bidirectional=True), torch.randn(T, B, I), [6, 2, 4]
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    alone = [x[:n, b] for b, n in enumerate(lengths)]
    for name in ("saturation", "retention"):
        take = getattr(gw.lens, name)
        arguments = {"lags": [1, 2, 3]} if name == "retention" else {}
        expected = take(model, alone, **arguments)
        assert expected.steps == 12
        for found in (
            take(model, [packed], **arguments),
            take(model, [x], run=lambda m, x: m(x, lengths=lengths), **arguments),
            take(model, [alone], **arguments),
            take(model, [[a.numpy() for a in alone]], **arguments),
            take(model, [torch.nested.as_nested_tensor(alone, layout=torch.jagged)], **arguments),
        ):
            assert found.steps == 12
            arrays = "mean" if name == "saturation" else "survival"
            for key, values in getattr(expected, arrays).items():
                np.testing.assert_allclose(getattr(found, arrays)[key], values, atol=1e-6)


def test_resets_of_a_list_are_seen():
    model, x = gw.nn.GRU(I, H), [torch.randn(4, I), torch.randn(2, I)]
    resets = [torch.tensor([False, False, True, False]), torch.tensor([False, True])]
    with watch(model) as readings:
        model(x, resets=resets)
    assert readings[0].begins.nonzero().tolist() == [[1, 1], [2, 0]]


def test_accelerated_models_of_torch_are_measured():
    model = nn.ModuleDict({"layer": nn.LSTM(I, H), "decoder": nn.Linear(H, 2)})
    with pytest.raises(ValueError, match=r"'layer' is one of torch: .*accelerate"):
        saturation(model, [torch.randn(T, B, I)])
    model = gw.accelerate(model)
    found = saturation(model, [torch.randn(T, B, I)], run=lambda m, x: m["layer"](x))
    assert "layer.l0.f" in found.right


# ---- holding -----------------------------------------------------------------------------------


def test_holding_one_place_leaves_the_others():
    model, x = Tagger(), torch.randn(T, B, I)
    with hold(model, {"below.l0.f": 0.25, "z": {2: 1.0}}), watch(model) as readings:
        model(x)
    below, above = readings[0].values(), readings[1].values()
    assert (below["below.l0.f"] == 0.25).all()
    assert (below["below.l0_reverse.f"] != 0.25).all()
    for layer in ("above.0.l0.z", "above.0.l1.z"):
        assert (above[layer][..., 2] == 1).all()
        assert (above[layer][..., [0, 1, 3]] != 1).all()


def test_holds_nest_and_end():
    layer, x = gw.nn.LSTM(I, H), torch.randn(T, B, I)
    expected, _ = layer(x)
    with hold(layer, {"f": 0.0, "i": 1.0}):
        with hold(layer, {"l0.f": 1.0}):
            inner, _ = layer(x)
        outer, _ = layer(x)
    torch.testing.assert_close(inner, layer(x, pin={"f": 1.0, "i": 1.0})[0])
    torch.testing.assert_close(outer, layer(x, pin={"f": 0.0, "i": 1.0})[0])
    torch.testing.assert_close(layer(x)[0], expected)
    with hold(layer, {"f": 0.0}):
        by_call, _ = layer(x, pin={"f": 0.5})  # what the call itself pins has the last word
    torch.testing.assert_close(by_call, layer(x, pin={"f": 0.5})[0])


def test_a_unit_that_is_held_at_its_own_value_changes_nothing():
    layer, x = gw.nn.GRU(I, H), torch.randn(1, B, I)
    y, _ = layer(x)
    with hold(layer, {"h": {2: y[0, 0, 2].item()}}):
        held, _ = layer(x)
    torch.testing.assert_close(held[:, 0], y[:, 0])


def test_units_of_several_values_are_held_together():
    layer, x = gw.nn.LSTM(I, H), torch.randn(T, B, I)
    for pin in ({"c": {1: 0.3}, "f": {1: 0.0, 2: 1.0}}, {"f": {1: 0.0, 2: 1.0}, "c": {1: 0.3}}):
        trace = layer.trace(x, pin=pin)
        assert (trace["c"][..., 1] == 0.3).all()
        torch.testing.assert_close(trace["h"], trace["o"] * trace["c"].tanh())
        kept = trace["c"][1:, :, 2] - (trace["i"] * trace["g"])[1:, :, 2]
        torch.testing.assert_close(kept, trace["c"][:-1, :, 2])


def test_gradients_flow_around_held_units():
    layer, x = gw.nn.GRU(I, H), torch.randn(T, B, I, requires_grad=True)
    y, _ = layer(x, pin={"h": {2: 0.5}})
    (gradient,) = torch.autograd.grad(y[..., 2].sum(), x, retain_graph=True)
    assert (gradient == 0).all()
    (gradient,) = torch.autograd.grad(y[..., 1].sum(), x)
    assert (gradient != 0).any()


@pytest.mark.parametrize(
    ("pin", "error", "message"),
    [
        ({"q": 0.0}, ValueError, "no value named 'q'"),
        ({"l0.ff": 0.0}, ValueError, r"no value named 'l0.ff'; did you mean 'l0.f'"),
        ({"f": {5: 0.0}}, ValueError, r"pin\['f'\] names the unit 5; there are 5"),
        ({"f": {-1: 0.0}}, ValueError, "names the unit -1"),
        ({"f": {True: 0.0}}, ValueError, "names the unit True"),
        ({"f": {1: "x"}}, TypeError, r"pin\['f'\]\[1\] should be a number, got str"),
        ({"f": [0.0]}, TypeError, "a number, a tensor, or a mapping"),
        ({"f": torch.zeros(3)}, ValueError, r"one per unit, got the shape \[3\]"),
    ],
)
def test_wrong_pins_are_refused_and_nothing_stays_held(pin, error, message):
    layer, x = gw.nn.LSTM(I, H), torch.randn(T, B, I)
    with pytest.raises(error, match=message), hold(layer, pin):
        layer(x)
    assert not layer.held


def test_a_copy_of_another_state_cannot_be_held_in_part():
    layer = gw.nn.Recurrent(gw.cells.tau_gru(delay=2), I, H)
    with pytest.raises(ValueError, match="change the value that it is a copy of"):
        layer(torch.randn(T, B, I), pin={"past1": {0: 0.0}})


# ---- errors ------------------------------------------------------------------------------------


class Blind(nn.Module):
    """Holds a layer that it never calls as a module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = gw.nn.GRU(I, H)

    def forward(self, x):
        return x.sum(0)


@pytest.mark.parametrize(
    ("model", "batches", "error", "message"),
    [
        (nn.Linear(2, 2), [torch.zeros(1)], ValueError, "no recurrent layer of Gatework"),
        (gw.nn.GRUCell(I, H), [torch.zeros(1)], ValueError, "'it' makes single steps"),
        ("model", [torch.zeros(1)], TypeError, "expected a torch.nn.Module, got str"),
        (gw.nn.GRU(I, H), [], ValueError, "batches is empty"),
        (gw.nn.GRU(I, H), [torch.zeros(T, 0, I)], ValueError, "no steps"),
        (Blind(), [torch.zeros(T, B, I)], ValueError, "without calling any"),
    ],
)
def test_what_cannot_be_measured_is_an_error(model, batches, error, message):
    for take in (gw.lens.saturation, gw.lens.retention):
        with pytest.raises(error, match=message):
            take(model, batches)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (torch.zeros(T, B, I), r"batches is one Tensor; expected an iterable .* \[batch\]"),
        (np.zeros((T, B, I)), "batches is one ndarray"),
        ("text", "batches is one str"),
        (nn.utils.rnn.pack_sequence([torch.zeros(T, I)]), "batches is one PackedSequence"),
        (5, "batches is a int; expected an iterable"),
    ],
)
def test_one_batch_in_place_of_many_is_an_error(batches, message):
    layer = gw.nn.GRU(I, H)
    for take in (
        gw.lens.saturation,
        gw.lens.retention,
        gw.lens.find_units,
        gw.lens.gradient_flow,
        lambda model, batches: gw.lens.memory_horizon(model, batches, 2),
        lambda model, batches: gw.lens.compare(model, model, batches),
    ):
        with pytest.raises(TypeError, match=message):
            take(layer, batches)


@pytest.mark.parametrize("batch_first", [False, True])
def test_nothing_is_retained_over_an_episodes_end(batch_first):
    layer = gw.nn.LSTM(I, H, bidirectional=True, batch_first=batch_first)
    x, begins = torch.randn(T, B, I), torch.zeros(T, B, dtype=torch.bool)
    begins[3, 1] = True
    given = [t.transpose(0, 1) if batch_first else t for t in (x, begins)]
    shares = gw.lens.kept_shares(layer, given, run=lambda m, batch: m(batch[0], resets=batch[1]))
    whole = gw.lens.kept_shares(layer, given[:1], run=lambda m, batch: m(batch[0]))
    for state, start, end, over in (
        ("l0.c", 1, 2, False),
        ("l0.c", 2, 3, True),
        ("l0.c", 3, 4, False),
        ("l0_reverse.c", 4, 3, False),
        ("l0_reverse.c", 3, 2, True),
        ("l0_reverse.c", 2, 1, False),
    ):
        left = shares.between(state, start, end)
        assert (left[1] == 0).all() == over
        if end < 3 or state.startswith("l0_"):
            np.testing.assert_allclose(left[0], whole.between(state, start, end)[0], atol=1e-6)


def test_half_precision_is_measured():
    layer, x = gw.nn.GRU(I, H).bfloat16(), torch.randn(T, B, I).bfloat16()
    found = saturation(layer, [x])
    expected = layer.trace(x)["z"].float().mean((0, 1)).detach()
    np.testing.assert_allclose(found.mean["l0.z"], expected, rtol=1e-5)
    assert np.isfinite(gw.lens.retention(layer, [x]).mean["l0.h"]).all()


def test_names_that_no_cell_has_are_refused():
    with pytest.raises(ValueError, match="no value named 'fx'"), watch(gw.nn.LSTM(I, H), ("fx",)):
        pass
    with pytest.raises(ValueError, match="no value named 'fx'"):
        gw.nn.LSTM(I, H).trace(torch.randn(T, B, I), names=("fx",))


def test_progress_tells_the_steps_read_and_batches_are_let_go():
    told: list[int] = []
    layer = gw.nn.GRU(I, H)
    batches = (torch.randn(T, B, I) for _ in range(4))
    (found,) = measure(layer, batches, SaturationMeter(), progress=told.append)
    assert told == [18, 36, 54, 72]
    assert found.steps == 72


def test_copies_of_a_held_layer_are_free():
    layer, x = gw.nn.GRU(I, H), torch.randn(T, B, I)
    expected, _ = layer(x)
    with hold(layer, {"h": 0.0}):
        other = copy.deepcopy(layer)
    torch.testing.assert_close(other(x)[0], expected)


def test_meters_that_read_together_find_what_each_finds_alone():
    layer = gw.nn.LSTM(3, 4, num_layers=2)
    batches = [torch.randn(20, 2, 3) for _ in range(3)]
    found, retention = measure(layer, batches, SaturationMeter(), RetentionMeter([1, 5]))
    alone = gw.lens.retention(layer, batches, lags=[1, 5])
    assert list(retention.mean) == list(alone.mean)
    for name, mean in alone.mean.items():
        np.testing.assert_array_equal(retention.mean[name], mean)
    assert list(found.mean) == list(saturation(layer, batches).mean)
