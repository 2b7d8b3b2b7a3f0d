"""A last argument that stands for as many states as a constant says."""

import pytest
import torch

import gatework as gw
from gatework import cell, linear, tanh
from numerics import randomised


@cell(repeat="delay")
def delayed(x, h, *past, delay=3):
    """h' reads the state of `delay` steps before h."""
    return tanh(linear("n", x) + linear("n", past[-1], group="dh")), h, *past[:-1]


def test_the_constant_counts_the_states():
    assert [s.name for s in delayed.states] == ["h", "past1", "past2", "past3"]
    assert [s.name for s in delayed(delay=1).states] == ["h", "past1"]
    assert delayed.parameters == delayed(delay=1).parameters


@pytest.mark.parametrize("delay", [1, 2, 5])
def test_the_states_hold_the_past(delay):
    layer = randomised(gw.nn.Recurrent(delayed(delay=delay), 3, 4, dtype=torch.float64))
    y, state = layer(torch.randn(9, 2, 3, dtype=torch.float64))
    assert len(state) == delay + 1
    for k, s in enumerate(state):
        assert torch.equal(s[0], y[8 - k])
    trace = layer.trace(torch.randn(9, 2, 3, dtype=torch.float64))
    assert torch.equal(trace["past1"][1:], trace["h"][:-1])


@pytest.mark.parametrize("delay", [0, -1, 1.5])
def test_a_count_is_a_positive_int(delay):
    with pytest.raises(ValueError, match="delay counts states, so it expects an int of 1 or more"):
        delayed(delay=delay)


def test_a_star_without_a_count_says_what_to_write():
    with pytest.raises(gw.lang.DefinitionError, match=r"@cell\(repeat='delay'\)"):

        @cell
        def wrong(x, h, *past):
            return h, *past

    with pytest.raises(gw.lang.DefinitionError, match=r"@cell\(repeat='delay'\)"):

        @cell(repeat="delay")
        def wrong_too(x, h, *past):
            return h, *past
