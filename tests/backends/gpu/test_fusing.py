"""What stood before a loop and goes unit by unit is done in it."""

import pytest
import torch

import gatework as gw
from gatework.backends.gpu.fusing import fused
from gatework.backends.gpu.products import sums
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from gatework.lang.expressions import Apply, Symbol, postorder
from plan_calls import all_sizes, assert_same, backward_call, random_call

CELLS = gw.cells.catalogue()
PLANS = ("forward", "keeping", "backward")


@pytest.mark.parametrize("name", CELLS)
def test_it_is_the_same_plan(name):
    """In float64, with lengths: as the reference runs both."""
    cell = CELLS[name]
    sizes, lengths = all_sizes(cell, 3, 4), torch.tensor([3, 0])
    plans = program(cell)
    call = random_call(plans.forward, (3, 2), sizes, torch.float64, lengths=lengths)
    assert_fused(plans.forward, call)
    assert_fused(plans.keeping, call)
    kept = Reference().run(plans.keeping, call)
    assert_fused(plans.backward, backward_call(cell, call, kept))


def assert_fused(plan, call):
    """Fused, a plan gives the same."""
    found, expected = (Reference().run(p, call) for p in (fused(plan), plan))
    assert_same(found, expected, 1e-10)


@pytest.mark.parametrize("name", ["min_gru", "min_lstm", "rg_lru", "gru", "gru_d"])
def test_nothing_but_sums_of_products_stands_before_the_loop(name):
    for which in PLANS:
        values = fused(getattr(program(CELLS[name]), which)).hoisted.values()
        assert set(values) == set(sums(values))


def test_what_reads_whole_rows_stays_where_it_is():
    plan = program(CELLS["layer_norm_gru"]).forward
    assert fused(plan).hoisted == plan.hoisted


def test_an_output_that_is_fused_is_written_by_the_loop():
    plan = program(CELLS["min_gru"]).keeping
    assert "z" in plan.hoisted
    found = fused(plan)
    assert "z" not in found.hoisted
    assert isinstance(found.written["z"], Apply)
    assert {*found.written} == {*plan.written}


@pytest.mark.parametrize("name", CELLS)
def test_what_is_read_after_the_loop_alone_stays_before_it(name):
    """It has no other place to be read from."""
    plan = program(CELLS[name]).backward
    read = {n.name for n in postorder(plan.deferred.values()) if isinstance(n, Symbol)}
    assert read & {*plan.hoisted} <= {*fused(plan).hoisted, *plan.recurrence.outputs}
