"""A weight that is applied as it is and transposed, and the sigmoid of straight lines."""

import pytest
import torch

import gatework as gw
from gatework import cell, hardsigmoid, linear, tanh
from numerics import assert_same, problem, randomised


@cell
def skew(x, h):
    """h' = tanh(W x + (U - Uᵀ) h)."""
    turned = linear("n", h, bias=False) - linear("n", h, bias=False, transposed=True)
    return tanh(linear("n", x) + turned)


def test_both_maps_share_one_weight():
    assert [p.name for p in skew.parameters] == ["weight_ih", "weight_hh", "bias_ih"]
    layer = randomised(gw.nn.Recurrent(skew, 3, 5, dtype=torch.float64))
    u, x = layer.weight_hh_l0, torch.randn(4, 2, 3, dtype=torch.float64)
    h = torch.zeros(2, 5, dtype=torch.float64)
    for row in x:
        h = torch.tanh(row @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ (u - u.T).T)
    torch.testing.assert_close(layer(x)[1][0], h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", [None, (4, 0, 2)])
def test_the_gradient_of_the_weight_is_the_sum_of_both(lengths):
    random = problem(skew, lengths=lengths)
    assert_same(random.derived(), random.by_autograd(), 1e-12)
    assert_same(random.second_derived(), random.second_by_autograd(), 1e-9)


def test_only_a_square_weight_can_be_transposed():
    with pytest.raises(gw.lang.DefinitionError, match="needs a square weight"):

        @cell
        def wrong(x, h):
            return linear("n", x, transposed=True) + h


def test_hardsigmoid_is_torchs():
    @cell
    def hard(x, h):
        return h * 0 + hardsigmoid(linear("z", x))

    layer = randomised(gw.nn.Recurrent(hard, 3, 4, dtype=torch.float64))
    x = 20 * torch.randn(5, 2, 3, dtype=torch.float64)
    trace = layer.trace(x)
    assert {"z", "z.pre"} <= set(trace)
    expected = torch.nn.functional.hardsigmoid(trace["z.pre"])
    assert {0.0, 1.0} <= set(expected.unique().tolist())
    torch.testing.assert_close(trace["z"], expected, rtol=1e-12, atol=1e-12)
