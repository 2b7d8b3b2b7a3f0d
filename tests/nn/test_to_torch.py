"""Torch's layers in the place of ours: the same weights, the same results, or a reason."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import gatework as gw
from gatework.errors import InputError

LAYERS = {
    "lstm": (lambda **o: gw.nn.LSTM(3, 5, **o), nn.LSTM),
    "gru": (lambda **o: gw.nn.GRU(3, 5, **o), nn.GRU),
    "rnn": (lambda **o: gw.nn.RNN(3, 5, **o), nn.RNN),
    "relu": (lambda **o: gw.nn.RNN(3, 5, nonlinearity="relu", **o), nn.RNN),
    "projected": (lambda **o: gw.nn.LSTM(3, 5, proj_size=2, **o), nn.LSTM),
    "by cell": (lambda **o: gw.nn.Recurrent(gw.cells.lstm, 3, 5, **o), nn.LSTM),
}
OPTIONS = (
    {},
    {"bias": False, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "dtype": torch.float64},
)
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_gives_the_same(kind, options):
    make, expected = LAYERS[kind]
    ours = make(**options)
    theirs = gw.to_torch(ours)
    assert type(theirs) is expected
    assert theirs.training
    assert "Gatework" not in repr(theirs)
    x = torch.randn(4, 6, 3, dtype=options.get("dtype"))
    output, state = theirs.eval()(x)
    wanted, expected_state = ours.eval()(x)
    close(output, wanted)
    close(state, expected_state)
    assert theirs.state_dict().keys() == ours.state_dict().keys()


@pytest.mark.parametrize("step", [gw.nn.LSTMCell, gw.nn.GRUCell, gw.nn.RNNCell])
def test_a_single_step_gives_the_same(step):
    ours = step(3, 5)
    theirs = gw.to_torch(ours)
    assert type(theirs).__module__ == "torch.nn.modules.rnn"
    x = torch.randn(2, 3)
    close(theirs(x), ours(x))


def test_a_model_is_copied_with_what_it_shares():
    layer = gw.nn.GRU(4, 4)
    model = nn.ModuleDict({"first": layer, "again": layer, "rest": nn.Sequential(nn.LSTM(4, 4))})
    gw.accelerate(model)
    model["tied"] = nn.Linear(4, 12, bias=False)
    model["tied"].weight = layer.weight_ih_l0
    before = copy.deepcopy(model.state_dict())
    found = gw.to_torch(model)
    assert found["first"] is found["again"]
    assert type(found["first"]) is nn.GRU
    assert type(found["rest"][0]) is nn.LSTM
    assert "accelerated" not in repr(found)
    assert found["tied"].weight is found["first"].weight_ih_l0
    assert found["first"].weight_ih_l0 is not layer.weight_ih_l0
    assert isinstance(model["first"], gw.nn.GRU)
    for name, value in found.state_dict().items():
        assert torch.equal(value, before[name])
    found["first"](torch.randn(3, 2, 4))[0].sum().backward()
    assert found["first"].weight_ih_l0.grad is not None


def test_weights_that_are_computed_and_frozen_ones():
    layer = gw.nn.LSTM(3, 5)
    layer.bias_hh_l0.requires_grad_(False)
    weight_norm(layer, "weight_hh_l0")
    theirs = gw.to_torch(layer)
    assert type(theirs) is nn.LSTM
    assert not theirs.bias_hh_l0.requires_grad
    x = torch.randn(4, 2, 3)
    close(theirs(x)[0], layer(x)[0])


def test_sixteen_bits_and_no_numbers():
    assert gw.to_torch(gw.nn.GRU(3, 5).bfloat16()).weight_ih_l0.dtype == torch.bfloat16
    assert gw.to_torch(gw.nn.GRU(3, 5, device="meta")).weight_ih_l0.is_meta


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: gw.nn.Recurrent(gw.cells.mgu, 3, 5), "torch has no cell 'mgu'"),
        (lambda: gw.nn.LSTM(3, 5, zoneout=0.1), "options or pins"),
        (lambda: gw.nn.LSTM(3, 5, weight_drop=0.1), "call eval"),
        (lambda: gw.nn.LSTM(3, 5, layer_norm=True), "options or pins"),
        (lambda: gw.nn.LSTM(3, 5, learned_state=True), "learned initial state"),
        (lambda: gw.nn.RecurrentCell(gw.cells.projected_lstm, 3, 5, proj_size=2), "no cell"),
    ],
)
def test_what_torch_lacks_is_named(layer, words):
    with pytest.raises(InputError, match=words):
        gw.to_torch(nn.Sequential(layer()))


def test_a_class_of_ones_own_and_hooks_are_no_plain_layers():
    class Mine(gw.nn.LSTM):
        def forward(self, *args, **options):
            return super().forward(*args, **options)

    with pytest.raises(InputError, match="Mine may compute"):
        gw.to_torch(Mine(3, 5))
    layer = gw.nn.LSTM(3, 5)
    layer.register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="hooks"):
        gw.to_torch(layer)
    gw.to_torch(gw.nn.LSTM(3, 5, weight_drop=0.1).eval())


def test_what_is_no_model_and_what_has_nothing():
    with pytest.raises(TypeError, match="got str"):
        gw.to_torch("model")
    with pytest.warns(UserWarning, match="no layer of Gatework"):
        gw.to_torch(nn.Linear(2, 2))


def test_a_wrong_result_is_not_handed_out(monkeypatch):
    monkeypatch.setattr("gatework.nn.to_torch._parameter", lambda value: nn.Parameter(value + 0.1))
    with pytest.raises(RuntimeError, match="another result"):
        gw.to_torch(gw.nn.GRU(3, 5))
