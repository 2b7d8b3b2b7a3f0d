"""One definition of a gate: whoever speaks of gates means the same ones."""

from types import SimpleNamespace

import pytest
import torch

import gatework as gw
from gatework.analysis.gates import gates_of, keepers, named_gates, writers
from gatework.data import Character
from gatework.lang.axes import has_axes
from gatework.lens import gate_names, held_gates, saturation
from gatework.lens.passage import read_passage
from gatework.show.flow import flow_of
from gatework.studio.models import Studied
from gatework.train.config import GATED_RATE, NARROW, RunConfig

CATALOGUE = gw.cells.catalogue()


@gw.cell
def hard_lstm(x, h, c):
    i = gw.clamp(0.2 * gw.linear("i", x, h) + 0.5, 0, 1)
    f = gw.hardsigmoid(gw.linear("f", x, h))
    g = gw.tanh(gw.linear("g", x, h))
    o = gw.clamp(gw.linear("o", x, h) / 6 + 0.5, max=1, min=0)
    c = f * c + i * g
    return o * gw.tanh(c), c


@pytest.mark.parametrize("name", CATALOGUE)
def test_all_that_speak_of_gates_mean_the_same(name):
    cell = CATALOGUE[name]
    gates = named_gates(cell)
    assert gate_names(cell) == tuple(gates)
    assert {n.name for n in flow_of(cell).nodes if n.gate and n.name} == set(gates)
    studied = Studied.gates.func(SimpleNamespace(cell=cell))
    shown = [n for n, v in gates.items() if v.size == "hidden" or has_axes(v.size)]
    assert list(studied) == shown
    known = gates_of(cell, learned=True)
    assert {k.value for found in keepers(cell).values() for k in found} <= known
    assert {v for found in writers(cell).values() for v in found} <= known
    if not cell.further:  # which no command runs
        rate = RunConfig(cell=name, hidden_size=NARROW).peak_rate
        assert (rate == GATED_RATE) == bool(gates_of(cell))


def test_an_lstm_of_hard_sigmoids_has_three_gates_everywhere():
    layer, x = gw.nn.Recurrent(hard_lstm, 3, 4), torch.randn(20, 2, 3)
    three = ("i", "f", "o")
    assert gate_names(hard_lstm) == three
    assert {n.name for n in flow_of(hard_lstm).nodes if n.gate} == {*three}
    assert saturation(layer, [x]).gates == tuple(f"l0.{n}" for n in three)
    held = {n for pins in held_gates(layer).values() for n in pins}
    assert held == {f"l0.{n}" for n in three}
    assert [k.name for k in keepers(hard_lstm)["c"]] == ["f"]
    assert list(writers(hard_lstm)["c"]) == [hard_lstm.names["i"]]
    trace = layer.trace(x[:, :1])
    letters = [Character("a", k, 1) for k in range(20)]
    assert tuple(read_passage(letters, trace, hard_lstm).gates) == three
    biased = gw.nn.Recurrent(hard_lstm, 3, 4, forget_bias=2.0)
    assert biased.bias_ih_l0.view(4, 4)[1].abs().min() > 0.5  # of f, the second block
