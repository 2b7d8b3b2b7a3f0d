"""What lies in which range, and where a memory runs: cases that no cell of the catalogue has."""

import gatework as gw
from gatework import cell, linear, sigmoid, tanh
from gatework.analysis.gates import keepers
from gatework.analysis.memory import memory_of
from gatework.analysis.ranges import Range, ranges
from gatework.lang.expressions import apply, symbol

ROW = symbol("x", "sequence", "input")


def range_of(value):
    return ranges([value], {})[value]


def test_powers_of_what_is_bounded():
    small, large = apply("tanh", ROW), 2 * apply("tanh", ROW)
    assert range_of(small**2) == Range(0.0, 1.0)
    assert range_of(large**4).high >= 16
    assert range_of(apply("sigmoid", ROW) ** 0.25) == Range(0.0, 1.0)
    assert range_of(large**3).low <= -8


def test_a_value_and_a_share_of_what_is_left_of_one():
    """v + (1 - v) w is 1, or w, or between them, if v is a share; it may be written either way."""
    v, w, far = apply("sigmoid", ROW), apply("sigmoid", 2 * ROW), 3 + apply("tanh", ROW)
    assert range_of(v + (1 - v) * w) == Range(0.0, 1.0)
    assert range_of(w * (1 - v) + v) == Range(0.0, 1.0)
    assert range_of(v + (1 - v) * far).high == 4
    assert range_of(v + (1 - w) * w).high == 2
    assert range_of(v + (1 - v)) == Range(1.0, 1.0)
    assert range_of(far + (1 - far) * w).high >= 4


def test_a_gate_with_a_bound_keeps():
    @cell
    def bounded(x, c):
        f, bound = sigmoid(linear("f", x)), sigmoid(gw.vector("bound"))
        return (bound + (1 - bound) * f) * c + tanh(linear("n", x))

    found = {k.name: k.keeps for k in keepers(bounded)["c"]}
    assert found == {"f": True, None: True}  # so does the bound


def test_the_value_of_a_spike_is_no_memory():
    spike = gw.pointwise(lambda v: gw.where(v > 0, 1.0, 0.0), lambda v: 1 / (1 + v * v))

    @cell
    def spiking(x, v):
        return spike(v + linear("i", x))

    assert memory_of(spiking) == set()


def test_a_gate_in_one_branch_keeps():
    @cell
    def branching(x, h, c):
        f = sigmoid(linear("f", x, h))
        c = gw.where(linear("d", x) > 0, f, 0) * c + tanh(linear("n", x, h))
        return tanh(c), c

    assert [(k.name, k.keeps) for k in keepers(branching)["c"]] == [("f", True)]
