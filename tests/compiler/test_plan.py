"""The order of the work: stages, what leaves the loop, what is kept; and how it is explained."""

from dataclasses import replace

import pytest
import torch

import gatework as gw
from gatework import rewriting
from gatework.backends.cpu.backend import Cpu
from gatework.backends.reference import Reference
from gatework.compiler.derivative import derive
from gatework.compiler.plan import plan
from gatework.compiler.program import program
from gatework.compiler.recurrence import of_cell
from gatework.lang.expressions import (
    Matrix,
    Product,
    Symbol,
    postorder,
    product,
    symbol,
)
from plan_calls import assert_same, random_call

CELLS = gw.cells.catalogue()
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))

STAGES = {  # cell -> stages of a step forward, backward
    "rnn": (1, 2),
    "rnn_relu": (1, 2),
    "lstm": (1, 2),
    "gru": (1, 2),
    "gru_reset_before": (2, 3),
    "peephole_lstm": (1, 2),
    "projected_lstm": (2, 3),
    "layer_norm_lstm": (5, 4),
    "multiplicative_lstm": (2, 3),
}
KEPT = {
    "rnn": {"previous_h", "kept_h"},
    "lstm": {"previous_h", "previous_c", "i", "f", "g", "o", "c"},
    "gru": {"previous_h", "r", "z", "n", "kept0"},
}


@pytest.mark.parametrize("name", STAGES)
def test_stages(name):
    made = program(CELLS[name])
    assert (len(made.forward.stages), len(made.backward.stages)) == STAGES[name]


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_for_the_backward_pass(name):
    assert set(program(CELLS[name]).derivative.kept) == KEPT[name]


def in_loop(made):
    return [n for stage in made.stages for n in stage.nodes()]


def symbols(roots):
    return {n for n in postorder(roots) if isinstance(n, Symbol)}


@every_cell
def test_no_product_of_the_input_alone_is_in_the_loop(cell):
    for node in in_loop(program(cell).forward):
        if isinstance(node, Product):
            assert any(s.role in ("state", "constant") for s in symbols([node])), node


@pytest.mark.parametrize("name", ["lru", "s5"])
def test_new_states_are_written_where_products_of_them_can_wait(name):
    """A loop that multiplies nothing is a scan; one product over all steps follows it."""
    made = program(CELLS[name]).forward
    assert tuple(made.written.values()) == made.next_states
    assert list(made.deferred) == ["output"]
    assert not [n for n in in_loop(made) if isinstance(n, Product)]


def test_no_state_is_written_where_the_loop_multiplies_anyway():
    @gw.cell(output=True)
    def read(x, h):
        h = gw.tanh(gw.linear("n", x, h))
        return gw.linear("y", h), h

    assert list(program(read).forward.written) == ["output"]


@every_cell
def test_what_is_hoisted_reads_no_state(cell):
    made = program(cell)
    for p in (made.forward, made.keeping, made.backward):
        roles = {s.role for s in symbols(p.hoisted.values())}
        assert roles <= {"sequence", "parameter"}
        roles = {s.role for s in symbols(p.deferred.values())}
        assert "state" not in roles


@every_cell
def test_a_stage_reads_only_what_earlier_stages_completed(cell):
    made = program(cell)
    for p in (made.forward, made.keeping, made.backward):
        done = set()
        for stage in p.stages:
            for node in (*stage.products, *stage.reductions):
                assert not node.args[0].args or node.args[0] in done, "an incomplete row is read"
            inside = set(done)
            for node in stage.nodes():
                assert all(not a.args or a in inside for a in node.args)
                inside.add(node)
            done = inside
        for root in (*p.next_states, *p.written.values()):
            assert not root.args or root in done


def test_the_maps_of_a_masked_input_leave_the_loop():
    made = program(rewriting.input_dropout(CELLS["gru"], 0.2))
    assert {n.matrix.group for n in in_loop(made.forward) if isinstance(n, Product)} == {"hh"}
    assert "d_x" in made.backward.deferred


@pytest.mark.parametrize("lengths", [None, (4, 1, 0)])
def test_a_row_that_is_the_same_at_every_step_is_mapped_in_the_loop(lengths):
    """Its rows are [B], not [T, B]: a pass over all rows cannot read them whole."""
    rnn, mask = CELLS["rnn"], symbol("mask", "constant", "input")
    map_of_input = Matrix("ih", "h", "hidden", "input")
    maps = product(map_of_input, mask) + product(map_of_input, rnn.input * mask)
    new = maps * rnn.states[0]
    recurrence = replace(
        of_cell(rnn), next_states=(new,), outputs={"h": new}, constants=(mask,), labels={}
    )
    made = plan(recurrence)
    assert [v.args[0] for v in made.hoisted.values()] == [rnn.input * mask]
    lengths = None if lengths is None else torch.tensor(lengths)
    call = random_call(
        made, (4, 3), {"1": 1, "input": 3, "hidden": 5}, torch.float64, lengths=lengths
    )
    assert_same(Cpu().run(made, call), Reference().run(made, call), 1e-10)


@pytest.mark.parametrize("name", STAGES)
def test_the_gradient_of_the_input_is_computed_after_the_loop(name):
    """∂L/∂x = Σ Wᵀ dG is one product over all steps."""
    assert "d_x" in program(CELLS[name]).backward.deferred


def test_outputs_that_are_computed_before_the_loop_are_written_there():
    keeping = program(CELLS["delta_net"]).keeping
    assert {"q.pre", "k.pre", "b"} <= set(keeping.hoisted)
    assert not keeping.deferred
    for name in {*keeping.hoisted} & {*keeping.written}:
        assert keeping.written[name] is symbol(name, "sequence", keeping.hoisted[name].size)


def test_the_loop_of_a_cell_with_axes_does_what_its_states_need():
    """The norms of keys and queries are differentiated after it, from sums that it writes."""
    backward = program(CELLS["delta_net"]).backward
    own = {n: v for n, v in backward.written.items() if n not in backward.recurrence.outputs}
    assert len(own) == 3
    assert {"d_ih.q", "d_ih.k", "d_ih.b"} <= set(backward.deferred)
    assert len(backward.stages) == 3


def test_weights_gradients_are_left_out_of_the_loop():
    made = program(CELLS["lstm"])
    assert len(made.backward.recurrence.contractions) == 8
    assert len(made.backward.recurrence.summations) == 8
    assert {n.matrix.group for n in in_loop(made.backward) if isinstance(n, Product)} == {"hh"}


def test_traced_values_are_outputs_of_the_plan():
    made = program(CELLS["lstm"], ("f", "c"))
    assert set(made.outputs) == {"h", "f", "c"}
    derivative = derive(of_cell(CELLS["lstm"], ("f", "c")), (CELLS["lstm"].input,))
    assert {"d_out_f", "d_out_c"} <= {s.name for s in derivative.backward.sequences}


def test_a_derivative_can_be_planned_like_any_recurrence():
    backward = derive(of_cell(CELLS["gru"]), (CELLS["gru"].input,)).backward
    assert len(plan(backward).stages) == 2


# ---- explain -----------------------------------------------------------------------------------


@every_cell
def test_explain_shows_every_section(cell):
    found = gw.explain(cell, 3, 4)
    shown = str(found)
    for part in ("equations", "latex", "backward", "plan", "cost"):
        assert getattr(found, part), f"{part} is empty"
    for heading in ("Equations", "Backward equations", "Plan", "Cost", *found.equations):
        assert heading in shown
    assert repr(found) == shown
    for state in cell.states:
        assert any(line.startswith(f"{state.name}' = ") for line in found.equations)
        assert any(line.startswith(f"d_{state.name}' = ") for line in found.backward)


def test_explain_counts():
    cost = gw.explain(gw.cells.lstm, 3, 4).cost
    assert "parameters: 144 (576 bytes in float32)" in cost
    assert any(line.startswith("forward: ") and "flops" in line for line in cost)
    assert (
        gw.explain(gw.cells.gru.pin(r=1, z=0), 3, 4).cost[1]
        == gw.explain(gw.cells.rnn, 3, 4).cost[1]
    )
    assert "proj_size 2" in gw.explain(gw.cells.projected_lstm, 3, 4, proj_size=2).cost[0]


def test_explain_refuses_what_is_neither_cell_nor_layer():
    with pytest.raises(TypeError, match="explain expects a cell or a layer, got Linear"):
        gw.explain(torch.nn.Linear(2, 3))
