"""A state is followed where its units change places, and where a gate is repeated along axes."""

import pytest
import torch

import gatework as gw
from gatework import cell, linear, sigmoid, tanh
from gatework.analysis.calculus import slope
from gatework.analysis.gates import biases, keepers, writers
from gatework.analysis.memory import retention
from gatework.lang.expressions import apply, arrange, symbol


@cell
def packed_lstm(x, s):
    """An LSTM whose two states are one row, and whose maps are one as well."""
    h, c = gw.chunk(s, 2)
    i, f, g, o = gw.chunk(linear("gates", x, h, size="2*hidden"), 4)
    c = gw.observe("f", sigmoid(f)) * c + sigmoid(i) * tanh(g)
    return gw.cat([sigmoid(o) * tanh(c), c])


def moved_by(move):
    @cell
    def moving(x, h):
        z = sigmoid(linear("z", x, h))
        return z * move(h) + (1 - z) * tanh(linear("n", x, h))

    return moving


MOVES = {
    "roll": lambda h: gw.roll(h, 1),
    "shift": lambda h: gw.shift(h, 1),
    "flip": gw.flip,
    "take": lambda h: gw.take(h, [3, 0, 2, 1, 1, 5], size="hidden"),
    "chunk and cat": lambda h: gw.cat(gw.chunk(h, 2)[::-1]),
    "split": lambda h: gw.cat([*gw.split(h, ["2", "hidden-2"])][::-1]),
}


def unmixed(layer):
    """Set all matrices but the input's to zero, so that units reach each other by moves alone."""
    for name, weight in layer.named_parameters():
        if name.startswith("weight_") and "_ih_" not in name:
            torch.nn.init.zeros_(weight)


def carried(layer, state):
    """What every unit gets of all units of the state, by autograd: ∂s'/∂s times ones."""
    x = torch.zeros(1, 1, layer.input_size, dtype=torch.float64)

    def step(s):
        return layer(x, s[None, None])[1].flatten()

    with gw.use_backend("reference"):
        return torch.autograd.functional.jacobian(step, state).sum(1)


@pytest.mark.parametrize("name", MOVES)
def test_what_arrives_is_kept_wherever_it_stood(name):
    moving = moved_by(MOVES[name])
    assert [(k.name, k.keeps) for k in keepers(moving)["h"]] == [("z", True)]
    watched = moving.observing({"kept": retention(moving)["h"]})
    layer = gw.nn.Recurrent(watched, 3, 6, dtype=torch.float64)
    unmixed(layer)
    state = torch.randn(6, dtype=torch.float64)
    with gw.use_backend("reference"):
        kept = layer.trace(torch.zeros(1, 1, 3, dtype=torch.float64), state[None, None])["kept"]
    torch.testing.assert_close(kept.flatten(), carried(layer, state))


def test_of_a_row_that_holds_two_states_one_is_kept():
    assert [(k.name, k.keeps) for k in keepers(packed_lstm)["s"]] == [("f", True)]
    layer = gw.nn.Recurrent(
        packed_lstm.observing({"kept": retention(packed_lstm)["s"]}), 3, 8, dtype=torch.float64
    )
    unmixed(layer)
    with gw.use_backend("reference"):
        trace = layer.trace(torch.randn(1, 1, 3, dtype=torch.float64))
    of_output, of_memory = trace["kept"].flatten().chunk(2)
    torch.testing.assert_close(of_memory, trace["f"].flatten())
    assert not of_output.any()  # it is written anew, though the memory reaches it


def test_nothing_is_followed_through_a_sum():
    @cell
    def summing(x, h):
        return 0.5 * gw.cumsum(h) + linear("x", x)

    assert retention(summing)["h"].value == 0


def test_a_bias_of_a_whole_row_is_none_of_a_part_of_it():
    level = packed_lstm.names["f"].args[0]
    assert biases(level) == ()


@pytest.mark.parametrize(
    ("name", "state", "gate"),
    [
        ("gated_delta_net", "S", "a"),
        ("gla", "S", "decay"),
        ("mlstm", "C", "f"),
        ("mlstm", "n", "f"),
        ("mamba2", "s", "decay"),
        ("s6", "s", "decay"),
    ],
)
def test_a_gate_that_is_repeated_along_axes_keeps_and_is_the_share(name, state, gate):
    found = gw.cells.catalogue()[name]
    assert [(k.name, k.keeps) for k in keepers(found)[state]] == [(gate, True)]
    assert retention(found)[state] is found.names[gate]


def test_a_gate_of_heads_lets_in_what_is_written():
    @cell(axes={"S": ("head", "key", "value")}, output=True)
    def written(x, S):
        k, v = linear("k", x, size=("head", "key")), linear("v", x, size=("head", "value"))
        f, i = (sigmoid(linear(g, x, size="head")) for g in "fi")
        S = f * S + i * (k * v)
        return gw.sum(S, "key"), S

    assert [k.name for k in keepers(written)["S"]] == ["f"]
    assert writers(written)["S"] == (written.names["i"],)


def test_a_slope_goes_where_the_unit_goes():
    row = symbol("x", "sequence", "input")
    doubled = arrange("roll", [2 * row], (1,), "input")
    assert slope(apply("mul", doubled, 3), row).value == 6
