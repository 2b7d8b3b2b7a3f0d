"""Weights that come from outside the layer, made anew at each call: the doctor accuses none."""

import copy
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import gatework as gw

B, T, I, H = 4, 6, 5, 7
MAKERS = {"torch": nn, "gatework": gw.nn}
NAME = "weight_hh_l0"


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


X = normal(T, B, I)


def given_away(layer, name=NAME):
    """The layer without one of its parameters, and the parameter."""
    weight = getattr(layer, name)
    delattr(layer, name)
    return nn.Parameter(weight.detach().clone())


class WeightDrop(nn.Module):
    """As in awd-lstm-lm: the raw weight is the layer's, what it computes with is set anew."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer
        raw = given_away(layer)
        layer.register_parameter("raw", raw)
        setattr(layer, NAME, raw.data)

    def forward(self, x):
        setattr(self.rnn, NAME, nn.functional.dropout(self.rnn.raw, 0.5, self.training))
        return self.rnn(x)[0]


class FastaiDrop(nn.Module):
    """As in fastai: the raw weight is the wrapper's, a clone in eval mode."""

    def __init__(self, layer):
        super().__init__()
        self.module = layer
        self.raw = given_away(layer)
        setattr(layer, NAME, self.raw.clone())

    def forward(self, x):
        raw = self.raw
        made = nn.functional.dropout(raw, 0.5) if self.training else raw.clone()
        setattr(self.module, NAME, made)
        return self.module(x)[0]


class TrainedAlone(WeightDrop):
    """In eval mode the weight is set without its past."""

    def forward(self, x):
        raw = self.rnn.raw
        setattr(self.rnn, NAME, raw * 1.0 if self.training else raw.detach())
        return self.rnn(x)[0]


class Hypernetwork(nn.Module):
    """All weights come from another network, by a functional call; the layer's own are idle."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer
        sizes = {n: p.numel() for n, p in layer.named_parameters()}
        self.hyper = nn.ModuleDict({n: nn.Linear(3, s) for n, s in sizes.items()})
        self.context = nn.Parameter(normal(3))

    def forward(self, x):
        shapes = {n: p.shape for n, p in self.rnn.named_parameters()}
        weights = {n: self.hyper[n](self.context).view(s) for n, s in shapes.items()}
        return torch.func.functional_call(self.rnn, weights, (x,))[0]


class SetHypernetwork(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.rnn, self.shape = layer, getattr(layer, NAME).shape
        given_away(layer)
        self.hyper = nn.Linear(3, self.shape.numel())

    def forward(self, x):
        setattr(self.rnn, NAME, self.hyper(torch.ones(3)).view(self.shape))
        return self.rnn(x)[0]


class LowRank(nn.Module):
    """LoRA by hand: the base is frozen, the product of two thin matrices is added."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer.requires_grad_(False)
        self.base = given_away(layer).requires_grad_(False)
        rows, columns = self.base.shape
        self.a, self.b = nn.Parameter(normal(2, columns)), nn.Parameter(torch.zeros(rows, 2))

    def forward(self, x):
        setattr(self.rnn, NAME, self.base + self.b @ self.a)
        return self.rnn(x)[0]


class Added(nn.Module):
    """LoRA as a parametrization."""

    def __init__(self, weight):
        super().__init__()
        self.a = nn.Parameter(normal(2, weight.shape[1]))
        self.b = nn.Parameter(torch.zeros(len(weight), 2))

    def forward(self, base):
        return base + self.b @ self.a


def low_rank_parametrization(layer):
    layer.requires_grad_(False)
    parametrize.register_parametrization(layer, NAME, Added(getattr(layer, NAME)))
    return layer


def old_weight_norm(layer):
    with warnings.catch_warnings(action="ignore"):
        return torch.nn.utils.weight_norm(layer, NAME)


def old_spectral_norm(layer):
    return torch.nn.utils.spectral_norm(layer, NAME)


class Tied(nn.Module):
    """An encoder and a decoder that share their weights; the state goes from one to the other."""

    def __init__(self, layer):
        super().__init__()
        self.encoder, self.decoder = layer, copy.deepcopy(layer)
        for name, weight in layer.named_parameters():
            setattr(self.decoder, name, weight)

    def forward(self, x):
        return self.decoder(x, self.encoder(x)[1])[0]


class Behind(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.first, self.rnn = nn.Linear(I, I), layer

    def forward(self, x):
        return self.rnn(self.first(x))[0]


class OwnUse(nn.Module):
    """A parameter that is registered with the layer and read by the wrapper."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer
        layer.register_parameter("scale", nn.Parameter(torch.ones(H)))

    def forward(self, x):
        return self.rnn(x)[0] * self.rnn.scale


MADE = {
    "weight drop": WeightDrop,
    "weight drop of fastai": FastaiDrop,
    "weight made in training alone": TrainedAlone,
    "hypernetwork": Hypernetwork,
    "hypernetwork that sets": SetHypernetwork,
    "low rank": LowRank,
    "low-rank parametrization": low_rank_parametrization,
    "weight norm": lambda m: parametrizations.weight_norm(m, NAME),
    "orthogonal": lambda m: parametrizations.orthogonal(m, NAME),
    "spectral norm": lambda m: parametrizations.spectral_norm(m, NAME),
    "weight norm by hooks": old_weight_norm,
    "spectral norm by hooks": old_spectral_norm,
    "tied": Tied,
    "frozen": lambda m: m.requires_grad_(False),
    "frozen behind a layer": lambda m: Behind(m.requires_grad_(False)),
    "a parameter for the wrapper": OwnUse,
}
cases = pytest.mark.parametrize("name", MADE)
makers = pytest.mark.parametrize("make", [*MAKERS, "accelerated"])


def made(name, make, kind):
    torch.manual_seed(0)
    layer = getattr(MAKERS.get(make, nn), kind)(I, H)
    model = MADE[name](layer)
    return gw.accelerate(model) if make == "accelerated" else model


def everything(model):
    """Whatever the doctor might have touched."""
    return {
        "weights": {n: v.clone() for n, v in model.state_dict().items()},
        "gradients": {n: p.grad if p.grad is None else p.grad.clone()
                      for n, p in model.named_parameters()},
        "flags": [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
                  for m in model.modules()],
        "attributes": [{k: id(v) for k, v in vars(m).items() if k != "_flat_weights"}
                       for m in model.modules()],
        "random": (torch.random.get_rng_state(), np.random.get_state()[1:3], random.getstate()),
    }  # fmt: skip


def assert_same(found, expected):
    torch.testing.assert_close(found["weights"], expected["weights"], rtol=0, atol=0)
    for name, gradient in expected["gradients"].items():
        assert (found["gradients"][name] is None) == (gradient is None)
        if gradient is not None:
            assert torch.equal(found["gradients"][name], gradient)
    assert found["flags"] == expected["flags"]
    assert found["attributes"] == expected["attributes"]
    assert torch.equal(found["random"][0], expected["random"][0])
    assert found["random"][2] == expected["random"][2]
    np.testing.assert_array_equal(found["random"][1][0], expected["random"][1][0])


@cases
@makers
def test_weights_from_outside_are_not_accused(name, make):
    model = made(name, make, "LSTM")
    for training in (True, False):
        model.train(training)
        before = everything(model)
        for _ in range(2):
            assert gw.doctor(model, X).findings == ()
        assert_same(everything(model), before)


@cases
@makers
def test_nor_are_they_after_a_training_step(name, make):
    model = made(name, make, "GRU")
    y = model(X)
    y = y if isinstance(y, torch.Tensor) else y[0]
    if y.requires_grad:
        y.square().sum().backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.optim.SGD(trained, 0.01).step()
    before = everything(model)
    assert gw.doctor(model, X).findings == ()
    assert_same(everything(model), before)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("make", MAKERS)
def test_nor_are_those_of_single_steps(make, kind):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = getattr(MAKERS[make], kind)(I, H)
            self.raw = given_away(self.step, "weight_hh")
            self.step.weight_hh = self.raw.data

        def forward(self, x):
            self.step.weight_hh = nn.functional.dropout(self.raw, 0.5, self.training)
            state, rows = None, []
            for row in x:
                state = self.step(row, state)
                rows.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(rows)

    model = Loop()
    assert gw.doctor(model, X).findings == ()
    model(X).sum().backward()
    assert gw.doctor(model.eval(), X).findings == ()


class Kept(nn.Module):
    """A parametrization that adds what was made of parameters once."""

    def __init__(self, weight):
        super().__init__()
        self.a = nn.Parameter(normal(len(weight), 2))
        self.kept = (self.a @ self.a.T)[:, : weight.shape[1]].tanh()

    def forward(self, base):
        return base + self.kept


@pytest.mark.parametrize("make", MAKERS)
def test_a_graph_that_a_parametrization_keeps_and_that_is_used_up(make):
    layer = MAKERS[make].GRU(I, H).requires_grad_(False)
    parametrize.register_parametrization(layer, NAME, Kept(getattr(layer, NAME)))
    assert gw.doctor(layer, X).findings == ()
    layer(X)[0].sum().backward()
    assert gw.doctor(layer, X).findings == ()


@pytest.mark.parametrize("make", MAKERS)
def test_weights_that_were_set_before_the_call_and_used_up(make):
    """A training loop that sets the weights itself: the last graph is gone, the doctor goes on."""
    layer, hyper = MAKERS[make].GRU(I, H), nn.Linear(3, 3 * H * H)
    given_away(layer)
    setattr(layer, NAME, hyper(torch.ones(3)).view(3 * H, H))
    assert gw.doctor(layer, X).findings == ()
    layer(X)[0].sum().backward()
    assert gw.doctor(layer, X).findings == ()


@pytest.mark.parametrize(
    "name", ["weight drop", "weight drop of fastai", "low rank", "weight norm"]
)
@makers
def test_what_is_left_over_beside_them_is_found(name, make):
    torch.manual_seed(0)
    layer = MAKERS.get(make, nn).GRU(I, H)
    model = MADE[name](layer)
    layer.register_parameter("bias_xx_l0", nn.Parameter(torch.zeros(H)))
    model = gw.accelerate(model) if make == "accelerated" else model
    (finding,) = gw.doctor(model, X).findings
    assert finding.kind == "weight-unseen"
    assert finding.seen.startswith("bias_xx_l0: no gradient comes here")
