"""Fast weights against the paper's loop, written a second time in torch."""

import pytest
import torch
from torch.nn.functional import layer_norm

import gatework as gw
from numerics import randomised


def fast_weights(layer, x, rate=0.5, decay=0.95, steps=3):
    n = layer.hidden_size
    h, A, rows = x.new_zeros(x.shape[1], n), x.new_zeros(x.shape[1], n, n), []
    for row in x:
        A = decay * A + rate * torch.einsum("bi,bj->bij", h, h)
        slow = row @ layer.weight_ih_l0.T + layer.bias_ih_l0
        slow = slow + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        h = torch.relu(slow)
        for _ in range(steps):
            pulled = slow + torch.einsum("bij,bj->bi", A, h)
            gain, bias = layer.norm_weight_l0, layer.norm_bias_l0
            h = torch.relu(layer_norm(pulled, (n,), gain, bias))
        rows.append(h)
    return torch.stack(rows), A


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("units", [3, 17])
def test_it_computes_what_its_paper_says(units, backend):
    cell = gw.cells.fast_weights(steps=3)
    layer = randomised(gw.nn.Recurrent(cell, 5, units, dtype=torch.float64))
    x = torch.randn(6, 2, 5, dtype=torch.float64, requires_grad=True)
    y, A = fast_weights(layer, x)
    sources = [x, *layer.parameters()]
    expected = torch.autograd.grad(y.square().sum() + A.square().sum(), sources)
    with gw.use_backend(backend):
        found, (_, last) = layer(x)
        loss = found.square().sum() + last.square().sum()
        gradients = torch.autograd.grad(loss, sources)
    torch.testing.assert_close(found, y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(last[0], A.flatten(1), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-9)
