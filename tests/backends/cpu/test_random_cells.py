"""Machine code of random cells, and of every cell of the catalogue, against the reference."""

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st

import gatework as gw
from gatework.backends.cpu import Cpu
from gatework.backends.cpu.vector.target import host
from gatework.compiler.program import program
from gatework.lang.printing import equations
from machine_code import AS_IT_STANDS
from parts_of_suite import in_turn
from plan_calls import all_sizes, assert_plans_agree, assert_same, backward_call, random_call
from random_cells import random_cells

# T, B and the lengths of the sequences: up to four steps are divided among threads in another way
SHAPES = [
    ((1, 1), None),
    ((1, 3), None),
    ((3, 2), None),
    ((4, 3), (4, 0, 2)),
    ((2, 11), None),
    ((5, 2), None),
    ((6, 11), (6, 0, 2, 5, 1, 6, 3, 4, 6, 1, 2)),
    ((5, 11), None),
]


def agree(cell, shape, hidden_size, reverse, processor=None):
    shape, lengths = shape
    lengths = None if lengths is None else torch.tensor(lengths)
    sizes = all_sizes(cell, 3, hidden_size)
    assert_plans_agree(Cpu(processor), cell, shape, sizes, torch.float64, lengths, reverse)


# many rows of many units in many steps: here several threads meet if they do not wait
LENGTHS = (32, 9, *range(33), 5, 1, 31, 32, 7)
LARGE = [((32, 33), None), ((2, 300), None), ((33, 3), None), ((32, 40), LENGTHS)]


@given(
    random_cells(noise=True, further=True),
    st.sampled_from(SHAPES),
    st.sampled_from([5, 1]),
    st.booleans(),
)
@settings(max_examples=6)
def test_random_cells(cell, shape, hidden_size, reverse):
    note("\n".join(equations(cell)))
    agree(cell, shape, hidden_size, reverse)


@pytest.mark.slow
@given(
    random_cells(noise=True, further=True),
    st.sampled_from(SHAPES),
    st.sampled_from([4, 9]),
    st.booleans(),
)
def test_more_random_cells(cell, shape, hidden_size, reverse):
    note("\n".join(equations(cell)))
    agree(cell, shape, hidden_size, reverse)


def agree_on_threads(cell, shape, threads, reverse):
    """Several threads give what one gives: over many steps rounding alone may grow without end."""
    note("\n".join(equations(cell)))
    (shape, lengths), plans, backend = shape, program(cell), Cpu()
    lengths = None if lengths is None else torch.tensor(lengths)
    options = {"lengths": lengths, "reverse": reverse}
    call = random_call(plans.keeping, shape, all_sizes(cell, 3, 64), torch.float64, **options)
    kept = backend.run(plans.keeping, call)  # on one thread, as every test begins
    back = backward_call(cell, call, kept)
    expected = backend.run(plans.backward, back)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(backend.run(plans.keeping, call), kept, 1e-10)
        assert_same(backend.run(plans.backward, back), expected, 1e-10)
    finally:
        torch.set_num_threads(before)


@given(
    random_cells(noise=True, further=True), st.sampled_from(LARGE), st.integers(2, 4), st.booleans()
)
@settings(max_examples=4)
def test_large_random_cells_on_threads(cell, shape, threads, reverse):
    agree_on_threads(cell, shape, threads, reverse)


@pytest.mark.slow
@given(
    random_cells(noise=True, further=True), st.sampled_from(LARGE), st.integers(2, 4), st.booleans()
)
def test_more_large_random_cells_on_threads(cell, shape, threads, reverse):
    agree_on_threads(cell, shape, threads, reverse)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ragged"), in_turn(gw.cells.catalogue()))
def test_catalogue(name, ragged):
    """One of the calls by code as users have it, for some cells this one and for some that."""
    cell = gw.cells.catalogue()[name]
    whole, own = (AS_IT_STANDS, host()) if ragged else (host(), AS_IT_STANDS)
    agree(cell, ((5, 13), None), 19, False, whole)
    agree(cell, ((1, 5), None), 19, False, AS_IT_STANDS)
    agree(cell, ((5, 3), (0, 5, 2)), 19, True, own)


def test_a_constant_row_that_a_product_reads():
    """A pinned gate is a constant; a product may still read it."""

    @gw.cell
    def chained(x, h):
        z = gw.sigmoid(gw.linear("z", x, h))
        return gw.tanh(gw.linear("n", x) + gw.linear("n", z, group="zn"))

    agree(chained.pin(z=0.25), ((3, 2), None), 5, False)
