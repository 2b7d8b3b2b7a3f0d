"""Machine code of random cells, and of every cell of the catalogue, against the reference."""

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st

import gatework as gw
from gatework.backends.cpu import Cpu
from gatework.lang.printing import equations
from plan_calls import all_sizes, assert_plans_agree
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


def agree(cell, shape, hidden_size, reverse):
    shape, lengths = shape
    lengths = None if lengths is None else torch.tensor(lengths)
    sizes = all_sizes(cell, 3, hidden_size)
    assert_plans_agree(Cpu(), cell, shape, sizes, torch.float64, lengths, reverse)


@given(random_cells(noise=True), st.sampled_from(SHAPES), st.sampled_from([5, 1]), st.booleans())
@settings(max_examples=6)
def test_random_cells(cell, shape, hidden_size, reverse):
    note("\n".join(equations(cell)))
    agree(cell, shape, hidden_size, reverse)


@pytest.mark.slow
@given(random_cells(noise=True), st.sampled_from(SHAPES), st.sampled_from([4, 9]), st.booleans())
def test_more_random_cells(cell, shape, hidden_size, reverse):
    note("\n".join(equations(cell)))
    agree(cell, shape, hidden_size, reverse)


@pytest.mark.slow
@pytest.mark.parametrize("name", gw.cells.catalogue())
def test_catalogue(name):
    cell = gw.cells.catalogue()[name]
    agree(cell, ((5, 13), None), 19, False)
    agree(cell, ((1, 5), None), 19, False)
    agree(cell, ((5, 3), (0, 5, 2)), 19, True)


def test_a_constant_row_that_a_product_reads():
    """A pinned gate is a constant; a product may still read it."""

    @gw.cell
    def chained(x, h):
        z = gw.sigmoid(gw.linear("z", x, h))
        return gw.tanh(gw.linear("n", x) + gw.linear("n", z, group="zn"))

    agree(chained.pin(z=0.25), ((3, 2), None), 5, False)
