"""Cells whose input or states have another cell's size: what a layer can hold, and what it says."""

import pytest
import torch

import gatework as gw
from gatework import cell, linear, tanh


@cell(sizes={"x": "hidden"})
def shortcut(x, h):
    return x + tanh(linear("n", h))


@cell(sizes={"p": "input"})
def remembering(x, h, p):
    return tanh(linear("n", x, h, p)), x


def test_an_input_of_the_hidden_size():
    y, _ = gw.nn.Recurrent(shortcut, 4, 4, num_layers=2)(torch.randn(3, 2, 4))
    assert y.shape == (3, 2, 4)
    with pytest.raises(ValueError, match="layer 0 expects 4 input features, got 3; map the input"):
        gw.nn.Recurrent(shortcut, 3, 4)
    with pytest.raises(ValueError, match="layer 1 expects 4 input features, got 8"):
        gw.nn.Recurrent(shortcut, 4, 4, num_layers=2, bidirectional=True)
    with pytest.raises(ValueError, match="expects 4 input features, got 3"):
        gw.nn.RecurrentCell(shortcut, 3, 4)


def test_a_state_of_the_inputs_size():
    x = torch.randn(3, 2, 5)
    _, (_, p) = gw.nn.Recurrent(remembering, 5, 4, bidirectional=True)(x)
    assert torch.equal(p, torch.stack([x[-1], x[0]]))
    with pytest.raises(ValueError, match=r"'p'.*is 5 in layer 0 and 4 in layer 1"):
        gw.nn.Recurrent(remembering, 5, 4, num_layers=2)


def test_a_cell_without_parameters_runs():
    bare = gw.cells.leaky_rnn.pin(n=0.5)
    assert not bare.parameters
    _, h = gw.nn.Recurrent(bare, 5, 4)(torch.randn(3, 2, 5), torch.ones(1, 2, 4))
    torch.testing.assert_close(h, torch.full((1, 2, 4), 0.5 + 0.5 * 0.9**3))
    h = gw.nn.RecurrentCell(bare, 5, 4)(torch.randn(2, 5), torch.ones(2, 4))
    torch.testing.assert_close(h, torch.full((2, 4), 0.95))


def test_the_sizes_of_a_layer_by_name():
    layer = gw.nn.Recurrent(gw.cells.projected_lstm, 5, 4, 2, bidirectional=True, proj_size=3)
    assert layer.sizes(0) == {"1": 1, "input": 5, "hidden": 4, "proj_size": 3}
    assert layer.sizes(1) == layer.sizes(-1) == {**layer.sizes(0), "input": 6}
    layer.sizes(0)["input"] = 7  # a copy
    assert layer.sizes(0)["input"] == 5
    with pytest.raises(IndexError, match="there are 2 layers, numbered from 0; got 2"):
        layer.sizes(2)


def test_a_repr_has_what_differs_from_the_defaults():
    options = {"zoneout": {"c": 0.5}, "forget_bias": 1.0, "bias": False, "layer_norm": True}
    layer = gw.nn.Recurrent(gw.cells.projected_lstm, 5, 4, 2, proj_size=3, **options)
    assert repr(layer) == (
        "Recurrent(projected_lstm, 5, 4, proj_size=3, num_layers=2, bias=False, forget_bias=1.0, "
        "layer_norm=True, zoneout={'c': 0.5})"
    )
    step = gw.nn.RecurrentCell(gw.cells.projected_lstm, 5, 4, proj_size=3, bias=False)
    assert repr(step) == "RecurrentCell(projected_lstm, 5, 4, proj_size=3, bias=False)"
    assert repr(gw.nn.Recurrent(gw.cells.gru, 5, 4)) == "Recurrent(gru, 5, 4)"
    assert repr(gw.nn.LSTMCell(5, 4, zoneout=0.5)) == "LSTMCell(5, 4, zoneout=0.5)"
