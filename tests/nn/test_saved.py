"""A state that is handed on with its graph: the error names the cure."""

import pytest
import torch

import gatework as gw


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_second_backward_pass_says_how_to_cut_the_state(name, backend):
    layer, x = getattr(gw.nn, name)(3, 4, num_layers=2, bidirectional=True), torch.randn(5, 2, 3)
    with gw.use_backend(backend):
        y, state = layer(x)
        y.sum().backward()
        y, _ = layer(x, state)
        with pytest.raises(RuntimeError, match=r"a second time.*state\.detach\(state\)"):
            y.sum().backward()
        layer(x, gw.nn.state.detach(state))[0].sum().backward()


def test_a_graph_that_is_kept_is_gone_through_twice():
    layer = gw.nn.GRU(3, 4)
    y, _ = layer(torch.randn(5, 2, 3))
    y.sum().backward(retain_graph=True)
    once = layer.weight_hh_l0.grad.clone()
    y.sum().backward()
    assert torch.equal(layer.weight_hh_l0.grad, 2 * once)
