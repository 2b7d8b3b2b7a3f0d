"""What is shown of a passage is what the network computed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

import gatework as gw
from feeding import recurrent
from gatework.data import characters_of
from gatework.lang.axes import has_axes
from gatework.lens import gate_names, read_passage
from gatework.lens.axes import axis_lengths
from plain_sizes import plain_sizes

TEXT = characters_of(b"def f(x):")


@pytest.mark.parametrize(
    ("name", "gates"),
    [("rnn", ()), ("lstm", ("i", "f", "o")), ("gru", ("r", "z")), ("gru_reset_before", ("r", "z"))],
)
def test_gates_are_found_in_the_equations(name, gates):
    assert gate_names(gw.cells.catalogue()[name]) == gates


@pytest.mark.parametrize("name", sorted(gw.cells.catalogue()))
def test_a_passage_shows_what_the_trace_holds(name):
    torch.manual_seed(0)
    cell = gw.cells.catalogue()[name]
    sizes = plain_sizes(cell, 12)
    with gw.use_backend("reference"):  # no machine code has to be made for each cell
        layer = recurrent(cell, 12, 12, **sizes)
        trace = layer.trace(torch.randn(len(TEXT), 1, 12))
    passage = read_passage(TEXT, trace, cell, units=4, sizes=layer.sizes(0))
    assert passage.characters == TEXT
    assert passage.units == tuple(sorted(set(passage.units)))
    first = cell.states[0].size
    panels = [n for n in (*gate_names(cell), *(s.name for s in cell.states)) if n in trace]
    if has_axes(first):  # of those that have the axis whose places are shown
        panels = [n for n in panels if passage.axis in cell.names[n].size.split(",")]
    if not has_axes(first):  # of those with as many units as most have
        ((most, _),) = Counter(trace[n].shape[-1] for n in panels).most_common(1)
        panels = [n for n in panels if trace[n].shape[-1] == most]
    assert [*passage.gates, *passage.states] == panels
    for panel, values in {**passage.gates, **passage.states}.items():
        expected = trace[panel][:, 0].detach()
        if panel in passage.moving:
            expected = expected[:, list(passage.moving[panel])]
        elif passage.axis:  # the mean over all other axes
            lengths = axis_lengths(cell.names[panel].size, layer.sizes(0))
            expected = expected.unflatten(-1, tuple(lengths.values()))[..., None]
            expected = expected.movedim(1 + list(lengths).index(passage.axis), 1).flatten(2).mean(2)
        if panel not in passage.moving:
            expected = expected[:, list(passage.units)]
        np.testing.assert_allclose(values, expected.T.numpy(), rtol=1e-5, atol=1e-7)


def test_of_a_state_with_axes_heads_are_shown_each_by_the_unit_that_moves_most():
    layer = gw.nn.Recurrent(gw.cells.mlstm, 5, 12, head=3, key=2, value=4)
    trace = layer.trace(torch.randn(len(TEXT), 1, 5))
    passage = read_passage(TEXT, trace, layer.cell, units=2, sizes=layer.sizes(0))
    assert (passage.axis, len(passage.units)) == ("head", 2)
    assert passage.labels("f") == tuple(f"head {k}" for k in passage.units)
    spread = trace["C"][:, 0].detach().unflatten(-1, (3, 8)).std(0, unbiased=False)
    for head, unit, label in zip(
        passage.units, passage.moving["C"], passage.labels("C"), strict=True
    ):
        assert unit == 8 * head + int(spread[head].argmax())
        assert label == f"head {head}, key {unit % 8 // 4}, value {unit % 4}"


def test_lengths_of_axes_must_be_given():
    layer = gw.nn.Recurrent(gw.cells.delta_net, 5, 12)
    trace = layer.trace(torch.randn(len(TEXT), 1, 5))
    with pytest.raises(ValueError, match=r"has axes.*sizes=layer\.sizes\(0\)"):
        read_passage(TEXT, trace, layer.cell)


@pytest.mark.parametrize(
    ("name", "gates", "states"),
    [("projected_lstm", ["i", "f", "o"], ["c"]), ("lmu", [], ["h"])],
)
def test_units_of_another_size_are_left_out(name, gates, states):
    cell = gw.cells.catalogue()[name]
    sizes = dict.fromkeys(cell.size_names(), 7)
    trace = gw.nn.Recurrent(cell, 5, 12, **sizes).trace(torch.randn(len(TEXT), 1, 5))
    passage = read_passage(TEXT, trace, cell, units=4)
    assert (list(passage.gates), list(passage.states)) == (gates, states)
    assert len(passage.units) == 4


def test_the_liveliest_units_are_chosen():
    still, moving = torch.zeros(9, 1, 5), torch.zeros(9, 1, 5)
    moving[::2, 0, 1] = 1
    moving[::2, 0, 4] = 2
    assert read_passage(TEXT, {"h": moving}, gw.cells.rnn, units=2).units == (1, 4)
    gates_move = {"r": still, "z": moving, "h": moving.flip(2)}
    assert read_passage(TEXT, gates_move, gw.cells.gru, units=2).units == (1, 4)
