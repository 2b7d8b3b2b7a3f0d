"""Cells that use each of many values twice: written out, they would have 2^60 parts.

Whatever walks over such a cell has to visit each value once, or no test here ends.
"""

import json

import pytest
import torch

import gatework as gw
from gatework.lang.printing import LONG, latex, text
from gatework.lang.rewriting import affine_sums
from gatework.train.cells import cell_settings, kept_cell

TIMES = 60

CHANGES = {
    "product": lambda v: 0.5 * v * v + v,
    "sum": lambda v: v + v,
    "curve": lambda v: gw.tanh(v * v + v),
    "mean": lambda v: v - gw.mean(v) * v,
    "branch": lambda v: gw.where((v > 0) & (v < 1), v, 0.5 * v),
    "row": lambda v: 0.5 * gw.roll(v, 1) + v,
}


def doubled(change, times=TIMES, activation=gw.tanh):
    @gw.cell
    def used_often(x, h):
        v = activation(gw.linear("n", x, h))
        for _ in range(times):
            v = change(v)
        return 0.5 * gw.tanh(v)

    return used_often


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_defined_printed_and_explained(name):
    cell = doubled(CHANGES[name])
    assert len(str(gw.explain(cell))) < 400_000
    assert len(repr(cell.next_states[0])) < 20_000


def test_it_is_drawn_and_compared():
    cell = doubled(CHANGES["sum"])
    assert gw.explain(cell).svg.startswith("<svg")
    assert gw.equivalent(cell, cell.without_bias()) is False


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", ["product", "sum"])
def test_it_trains(name, backend):
    layer = gw.nn.Recurrent(doubled(CHANGES[name]), 3, 5, layer_norm=name == "product")
    with gw.use_backend(backend):
        y, _ = layer(torch.randn(4, 2, 3))
        y.sum().backward()
    assert y.shape == (4, 2, 5)
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("name", ["product", "sum", "mean"])
def test_a_run_can_keep_it(name):
    settings = cell_settings(doubled(CHANGES[name]))
    again = kept_cell(settings["cell"], settings["equations"])
    assert len(json.loads(settings["equations"])["nodes"]) < 6 * TIMES
    assert again.next_states[0] is doubled(CHANGES[name]).next_states[0]


def test_the_maps_of_a_sum_are_found_once_each():
    cell = doubled(CHANGES["sum"], activation=lambda v: v)
    assert len(affine_sums(cell)) == 1
    assert "norm_n_weight_l0" in gw.nn.Recurrent(cell, 3, 5, layer_norm=True).state_dict()
    assert "bias_hh_l0" not in gw.nn.Recurrent(cell, 3, 5, single_bias=True).state_dict()


def test_what_would_be_very_long_is_written_with_names():
    v = gw.cells.rnn.input
    short = v * v + v
    assert text(short) == "x * x + x"
    for _ in range(TIMES):
        v = v * v + v
    names = [f"v{k}" for k in range(TIMES - 1)]
    last = names[-1]
    lines = [f"{n} = {m} * {m} + {m}" for m, n in zip(["x", *names], names, strict=False)]
    assert text(v) == f"{last} * {last} + {last} where {', '.join(lines)}"
    assert latex(v).count(r"\text{where}") == 1
    assert len(text(v)) < LONG


def test_names_that_are_given_are_not_given_again():
    first = last = gw.cells.rnn.input
    for _ in range(TIMES):
        last = last * last + last
    written = text(last, {first: "v0"})
    assert written.startswith("v59 * v59 + v59 where v1 = v0 * v0 + v0")
