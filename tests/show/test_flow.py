"""What is drawn of a cell: its gates, its memory, every learned map, and text for all of it."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings

import gatework as gw
from gatework import cell, clamp, hardsigmoid, linear, sigmoid, softmax, tanh, vector
from gatework.analysis.gates import gates_of
from gatework.analysis.memory import memory_of
from gatework.lang.expressions import Product, postorder
from gatework.show import cell_svg
from gatework.show.flow import flow_of
from parts_of_suite import mostly_slow
from random_cells import random_cells

CELLS = gw.cells.catalogue()
SVG = "{http://www.w3.org/2000/svg}"


def names(cell, values):
    return {n for n, v in cell.names.items() if v in values and v.args}


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "rnn": "", "lstm": "i f o", "gru": "r z", "gru_reset_before": "r z", "mgu": "f",
        "coupled_gate_lstm": "i o", "peephole_lstm": "i f o", "ugrnn": "g", "slstm": "i f o",
        "layer_norm_lstm": "i f o", "cfn": "f i", "leaky_rnn": "", "scrn": "", "rg_lru": "i",
    }.items(),
)  # fmt: skip
def test_gates_are_what_is_squashed_and_multiplies(name, expected):
    cell = CELLS[name]
    found = {n for n in names(cell, gates_of(cell)) if "." not in n}
    drawn = {n.name for n in flow_of(cell).nodes if n.gate and n.name}
    assert drawn == set(expected.split())
    assert found <= drawn


def test_other_ways_to_squash_are_gates_too():
    @cell
    def squashing(x, h):
        a, b = hardsigmoid(linear("a", x)), softmax(linear("b", x))
        halved = 0.5 + 0.5 * tanh(linear("c", x))
        return a * h + b * tanh(linear("n", x)) + halved * tanh(linear("m", x))

    assert {n.name for n in flow_of(squashing).nodes if n.gate and n.name} == {"a", "b"}
    assert sum(n.gate for n in flow_of(squashing).nodes) == 3


def test_what_multiplies_nothing_or_is_learned_is_no_gate():
    @cell
    def gateless(x, h):
        s = sigmoid(linear("s", x, h))
        return s + sigmoid(vector("p")) * h + clamp(tanh(linear("n", x)), -1, 1) * h

    assert not [n for n in flow_of(gateless).nodes if n.gate]


@pytest.mark.parametrize(
    ("name", "kept"),
    {
        "rnn": "", "lstm": "c", "gru": "h", "original_lstm": "c", "coupled_gate_lstm": "c",
        "cfn": "", "star": "", "leaky_rnn": "h", "slstm": "c n m", "memory_controller_lstm": "c",
        "scrn": "s", "rhn": "h", "tau_gru": "h",
    }.items(),
)  # fmt: skip
def test_the_memory_runs_where_a_state_reaches_itself_by_arithmetic(name, kept):
    nodes = flow_of(CELLS[name]).nodes
    found = {n.name for n in nodes if n.kind == "next" and n.wires[0].memory}
    assert found == set(kept.split())
    started = {nodes[w.source].name for n in nodes for w in n.wires if w.memory}
    assert set(kept.split()) <= started
    assert bool(memory_of(CELLS[name])) == bool(kept)


@pytest.mark.parametrize("name", CELLS)
def test_every_map_gate_and_state_is_drawn(name):
    cell = CELLS[name].deterministic()
    flow = flow_of(cell)
    reached = set(postorder(cell.results()))
    mapped = sum(len(n.wires) for n in flow.nodes if n.kind == "map")
    products = {v for v in reached if isinstance(v, Product)}
    pairs = {(v.matrix.gate, v.args[0]) for v in products}  # a weight and its transpose may be one
    assert len(pairs) <= mapped <= len(products)
    drawn = {n.name for n in flow.nodes}
    assert [n.name for n in flow.nodes if n.kind == "next"] == [*cell.result_names()]
    assert {n for n, v in cell.observables().items() if v in reached and v.args} <= drawn
    for k, node in enumerate(flow.nodes):
        assert all(w.source < k for w in node.wires)
        assert node.label


@pytest.mark.parametrize("name", mostly_slow(CELLS))
def test_a_picture_is_xml_with_text_for_those_who_cannot_see_it(name):
    root = ElementTree.fromstring(cell_svg(CELLS[name]))
    assert root.tag == f"{SVG}svg"
    assert name in root.find(f"{SVG}title").text
    assert CELLS[name].states[0].name in root.find(f"{SVG}desc").text
    assert not [e for e in root.iter() if e.tag in (f"{SVG}script", f"{SVG}image")]
    assert all(e.find(f"{SVG}title").text for e in root.iter() if e.get("data-name"))


@settings(deadline=None, max_examples=40)
@given(random_cells())
def test_random_cells_are_drawn(cell):
    root = ElementTree.fromstring(cell_svg(cell))
    drawn = {e.get("data-name") for e in root.iter()}
    assert {s.name for s in cell.states} <= drawn


def test_explanations_show_themselves_in_notebooks():
    explained = gw.explain(gw.cells.gru)
    assert explained._repr_svg_() == explained.svg == cell_svg(gw.cells.gru)
    assert explained.svg in explained._repr_html_()
    assert "sigmoid(W_ih[r]" in explained._repr_html_()
    assert gw.explain(gw.nn.GRU(3, 5)).svg == explained.svg


def test_a_pinned_gru_is_drawn_as_the_vanilla_rnn():
    pinned, vanilla = flow_of(gw.cells.gru.pin(r=1, z=0)), flow_of(gw.cells.rnn)
    assert [(n.kind, n.label) for n in pinned.nodes] == [(n.kind, n.label) for n in vanilla.nodes]


def test_states_and_the_output_are_marked_with_their_axes():
    drawn = {(n.kind, n.name): n.axes for n in flow_of(gw.cells.mlstm).nodes if n.axes}
    states = {"C": "head × key × value", "n": "head × key", "m": "head"}
    assert drawn == {
        **{(kind, n): axes for n, axes in states.items() for kind in ("state", "next")},
        ("next", "output"): "head × value",
    }
    assert "head × key × value</text>" in cell_svg(gw.cells.delta_net)
    assert not any(n.axes for n in flow_of(gw.cells.lstm).nodes)
    gate = next(n for n in flow_of(gw.cells.gated_delta_net).nodes if n.name == "a")
    assert gate.equation.endswith("  [head]")
