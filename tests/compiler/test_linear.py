"""Loops that are linear in their states are found from their equations."""

import pytest
import torch

import gatework as gw
from gatework.backends.reference import Reference, Run
from gatework.compiler.linear import goes_unit_by_unit, linear
from gatework.compiler.plan import plan
from gatework.compiler.program import program
from gatework.compiler.recurrence import of_cell
from gatework.compiler.resets import with_resets
from gatework.lang.expressions import Symbol, postorder
from plan_calls import all_sizes, backward_call, changed, named, random_call

CELLS = gw.cells.catalogue()
KINDS = ("forward", "keeping", "backward")
FORWARD = ("lru", "min_gru", "min_lstm", "qrnn", "rg_lru", "s5", "t_gru", "t_lstm", "t_rnn")
NOT_FORWARD = ("brc", "indrnn", "indy_gru", "indy_lstm", "sru", "unicornn")  # unit by unit though


def plans_of(name):
    return {kind: getattr(program(CELLS[name]), kind) for kind in KINDS}


def found():
    """Every plan of the catalogue whose loop goes unit by unit, and whether it is linear."""
    plans = {(name, kind): plan for name in CELLS for kind, plan in plans_of(name).items()}
    return {key: linear(p) is not None for key, p in plans.items() if goes_unit_by_unit(p)}


def test_what_is_found_in_the_catalogue():
    expected = {(name, kind): True for name in FORWARD for kind in KINDS}
    expected |= {(name, kind): kind == "backward" for name in NOT_FORWARD for kind in KINDS}
    assert found() == expected


LINEAR = [
    (name, kind)
    for name in (*FORWARD, *NOT_FORWARD)
    for kind in KINDS
    if name in FORWARD or kind == "backward"
]


def call_of(name, kind):
    """A call of one step."""
    cell, plans = CELLS[name], plans_of(name)
    sizes = all_sizes(cell, 5, 7)
    call = random_call(plans["keeping"], (1, 3), sizes, torch.float64)
    if kind != "backward":
        return random_call(plans[kind], (1, 3), sizes, torch.float64)
    return backward_call(cell, call, Reference().run(plans["keeping"], call))


@pytest.mark.parametrize(("name", "kind"), LINEAR)
def test_new_states_are_the_factors_times_the_old_ones_and_a_rest(name, kind):
    """Of one step: next(s) = A s + next(0), with A by the equations that were found."""
    made, call = plans_of(name)[kind], call_of(name, kind)
    found, states = linear(made), made.recurrence.states
    given = {s: named(made, call)["state", s.name] for s in states}
    zeros = {("state", s.name): torch.zeros_like(given[s]) for s in found.states}
    new = dict(zip(states, Reference().run(made, call).states, strict=True))
    rest = dict(zip(states, Reference().run(made, changed(made, call, zeros)).states, strict=True))
    factors = values(made, call, found.factors)
    for s in found.states:
        terms = (factors[a, b] * given[b] for a, b in found.factors if a is s)
        torch.testing.assert_close(new[s], sum(terms) + rest[s], rtol=1e-12, atol=1e-12)


def values(made, call, factors):
    """What the factors are at the only step, [B, n]."""
    run = Run(made, call)
    run.sequences.update(run.over_all_steps(made.hoisted))
    given = {s: named(made, call)["state", s.name] for s in made.recurrence.states}
    known = {**run.fixed, **given}
    for node in postorder(factors.values()):
        if node not in known:
            known[node] = run.evaluate(node, known, 0)
    return {pair: known[value] for pair, value in factors.items()}


@pytest.mark.parametrize(("name", "kind"), LINEAR)
def test_factors_read_no_state_but_delays(name, kind):
    found = linear(plans_of(name)[kind])
    leaves = {n for n in postorder(found.factors.values()) if isinstance(n, Symbol)}
    assert {n for n in leaves if n.role == "state"} <= set(found.delays)


def forward(cell):
    return linear(program(cell).forward)


def test_a_state_that_is_a_row_of_a_step_before_is_a_delay():
    @gw.cell
    def delayed(x, h, last, before):
        gate = gw.sigmoid(gw.linear("gate", x))
        return gate * h + gw.sigmoid(before) * (1 - gate), gate, gw.tanh(last)

    found = forward(delayed)
    assert [s.name for s in found.states] == ["h"]
    assert [s.name for s in found.delays] == ["last", "before"]
    assert found.depth == 2


def test_a_state_that_never_changes_is_known():
    """Resets to an initial state carry it along."""
    resetting = with_resets(of_cell(CELLS["t_gru"]), "state")
    found = linear(plan(resetting))
    assert [s.name for s in found.states] == ["h"]
    assert len(found.delays) == 7
    assert found.depth == 1


def test_states_that_follow_each_other_around_are_no_delays():
    @gw.cell
    def turning(x, h, c):
        return c + gw.linear("i", x), h

    found = forward(turning)
    assert not found.delays
    assert {(a.name, b.name) for a, b in found.factors} == {("h", "c"), ("c", "h")}
    assert len(found.reach()) == 4


@pytest.mark.parametrize(
    "step",
    [
        lambda h, u: gw.tanh(h) * u,
        lambda h, u: h * h * u,
        lambda h, u: u / (1 + h),
        lambda h, u: gw.where(h > 0, h, u),
        lambda h, u: gw.abs(h) + u,
        lambda h, u: gw.maximum(h, u),
    ],
)
def test_what_is_not_linear_is_not_found(step):
    @gw.cell
    def own(x, h):
        return step(h, gw.linear("u", x))

    assert forward(own) is None


def test_what_is_linear_in_one_way_or_the_other_is_found():
    @gw.cell
    def own(x, h):
        u = gw.linear("u", x)
        return gw.where(u > 0, -(h * gw.sigmoid(u)) / (1 + u * u), u - h) - 0.5 * h

    assert forward(own) is not None


@pytest.mark.parametrize("name", ["gru", "layer_norm_lstm", "mlstm", "clockwork_rnn"])
def test_a_step_that_reads_whole_rows_does_not_go_unit_by_unit(name):
    assert not goes_unit_by_unit(program(CELLS[name]).forward)
    assert forward(CELLS[name]) is None
