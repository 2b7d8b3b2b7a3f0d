"""Functions in the place of a layer's forward pass, and what is there afterwards."""

import pytest
import torch

import gatework as gw
from gatework.nn.replacing import replaced_forwards


def model():
    return torch.nn.ModuleList([gw.nn.GRU(3, 5), gw.nn.LSTM(3, 5)])


def test_each_module_calls_its_own_function_inside_and_itself_after():
    layers, x = model(), torch.randn(4, 2, 3)
    forwards = {layer: lambda x, k=k: (k, x) for k, layer in enumerate(layers)}
    with replaced_forwards(forwards):
        assert [layer(x)[0] for layer in layers] == [0, 1]
    assert all(layer(x)[0].shape == (4, 2, 5) for layer in layers)
    assert not any("forward" in vars(layer) for layer in layers)


def test_what_was_there_is_there_again_after_an_inner_block():
    layer, x = gw.nn.GRU(3, 5), torch.randn(4, 2, 3)
    layer.forward = lambda x: "own"
    with replaced_forwards({layer: lambda x: "outer"}):
        with replaced_forwards({layer: lambda x: "inner"}):
            assert layer(x) == "inner"
        assert layer(x) == "outer"
    assert layer(x) == "own"


def test_what_was_there_is_there_again_after_an_error():
    layer, x = gw.nn.GRU(3, 5), torch.randn(4, 2, 3)
    with pytest.raises(TypeError), replaced_forwards({layer: lambda: "too few"}):
        layer(x)
    assert layer(x)[0].shape == (4, 2, 5)
