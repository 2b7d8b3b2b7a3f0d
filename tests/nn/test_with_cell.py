"""A layer's weights under another cell."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import gatework as gw
from numerics import assert_same, flat, gradients, randomised

T, B, I, H = 5, 3, 4, 6


def harder(cell):
    """The cell with another function in its gates, which reads the same parameters."""
    return cell.changing({"f": lambda f: f * f, "i": lambda i: 1 - i})


def both(**options):
    """A layer, its weights under another cell, and a layer that is made of that cell."""
    layer = randomised(gw.nn.LSTM(I, H, 2, bidirectional=True, dtype=torch.float64, **options))
    made = gw.nn.Recurrent(
        harder(gw.cells.lstm), I, H, 2, bidirectional=True, dtype=torch.float64, **options
    )
    made.load_state_dict(layer.state_dict())
    return layer, layer.with_cell(harder(layer.cell)), made


@pytest.mark.parametrize("options", [{}, {"learned_state": True}, {"zoneout": {"c": 0.3}}])
def test_it_runs_as_a_layer_made_of_the_cell_with_these_weights(options):
    _, other, made = both(**options)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    results = []
    for layer in (other.eval(), made.eval()):
        found = flat(layer(x, lengths=[5, 0, 2]))
        results += [found, gradients(found, {"x": x, **dict(layer.named_parameters())})]
    assert_same(results[0], results[2], 1e-12)
    assert_same(results[1], results[3], 1e-10)


def test_it_has_no_weights_of_its_own():
    layer, other, _ = both()
    assert [id(p) for p in other.parameters()] == [id(p) for p in layer.parameters()]
    layer.weight_hh_l0 = nn.Parameter(torch.zeros_like(layer.weight_hh_l0))
    assert other.weight_hh_l0 is layer.weight_hh_l0


def test_what_it_is_made_of_stays_as_it_is():
    layer, other, _ = both()
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, before = layer(x)[0], repr(layer)
    assert not torch.allclose(other(x)[0], y)
    other.eval()
    assert torch.equal(layer(x)[0], y)
    assert layer.training
    assert repr(layer) == before


def test_a_cell_of_its_own_may_run_in_eval_mode():
    layer = gw.nn.GRU(I, H)
    other, x = (
        layer.with_cell(layer.cell, gw.cells.gru.changing({"z": lambda z: z * z})),
        torch.ones(1, 1, I),
    )
    assert torch.equal(other(x)[0], layer(x)[0])
    assert not torch.allclose(other.eval()(x)[0], layer(x)[0])


def test_it_is_copied_and_pickled():
    _, other, _ = both()
    x = torch.randn(T, B, I, dtype=torch.float64)
    for twin in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert torch.equal(twin(x)[0], other(x)[0])


def test_a_watched_or_held_layer_lends_neither():
    layer, x = gw.nn.LSTM(I, H), torch.randn(T, B, I)
    expected = layer.with_cell(harder(layer.cell))(x)[0]
    with gw.lens.watch(layer) as readings, gw.lens.hold(layer, {"f": 0.0}):
        assert torch.equal(layer.with_cell(harder(layer.cell))(x)[0], expected)
    assert not readings


def test_weights_that_are_computed_are_those_of_the_other_too():
    layer = parametrizations.weight_norm(gw.nn.LSTM(I, H), "weight_hh_l0")
    other, x = layer.with_cell(harder(layer.cell)), torch.randn(T, B, I)
    layer.parametrizations.weight_hh_l0.original0.data *= 2
    made = gw.nn.Recurrent(harder(gw.cells.lstm), I, H)
    made.load_state_dict({name: getattr(layer, name) for name in made.state_dict()})
    torch.testing.assert_close(other(x)[0], made(x)[0])
    gw.lens.gradient_flow(layer, [x])


@pytest.mark.parametrize("steps", [1, T])
def test_torchs_code_does_not_run_in_the_place_of_another_cell(steps):
    layer = gw.accelerate(nn.LSTM(I, H))
    other, x = layer.with_cell(harder(layer.cell)), torch.randn(steps, B, I)
    made = gw.nn.Recurrent(harder(gw.cells.lstm), I, H)
    made.load_state_dict(layer.state_dict())
    for one in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        with torch.autocast("cpu", torch.bfloat16):  # where torch's runs the layer itself
            torch.testing.assert_close(one(x)[0], made(x)[0])


def test_a_cell_that_the_layer_cannot_run_is_refused():
    layer, cells = gw.nn.LSTM(I, H), gw.cells
    wrong = [
        (cells.lstm.pin(f=1), "'weight_ih' of the shape .18, 4., the layer has .24, 4."),
        (cells.peephole_lstm, "'peephole_i' of the shape .6., the layer has none; make it of"),
        (cells.projected_lstm, "has the size 'proj_size', the layer none"),
    ]
    for cell, message in wrong:
        with pytest.raises(ValueError, match=message):
            layer.with_cell(cell)
    with pytest.raises(ValueError, match="has other states than the layer's h"):
        gw.nn.Recurrent(cells.gru, I, H).with_cell(two_states)
    with pytest.raises(TypeError, match="with_cell expects a cell, give the layer's"):
        layer.with_cell(layer)


@gw.cell
def two_states(x, h, c):
    r, z, n = gw.linear("r", x, h), gw.linear("z", x, h), gw.linear("n", x, h)
    return r * c + n, z * h
