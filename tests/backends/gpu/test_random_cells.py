"""What surrounds the loops of random cells on the GPU, in float64: roundings hide nothing."""

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st

import interpreted_loops
from gatework.backends.gpu import backend as backends_gpu
from gatework.backends.gpu.backend import Gpu
from gatework.lang.printing import equations
from interpreted_loops import Interpreted, interpreted
from plan_calls import all_sizes, assert_plans_agree
from random_cells import random_cells

SHAPES = [((1, 1), None), ((3, 2), None), ((4, 3), (4, 0, 2)), ((2, 3), (0, 0, 0))]


@pytest.fixture(autouse=True, scope="module")
def _float64():
    """The interpreted kernels take what cards do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backends_gpu.ELEMENTS, torch.float64, "float")
        patch.setitem(interpreted_loops.DTYPES, "float", torch.float64)
        yield


def agree(cell, shape, hidden_size, reverse):
    note("\n".join(equations(cell)))
    shape, lengths = shape
    lengths = None if lengths is None else torch.tensor(lengths)
    sizes = all_sizes(cell, 3, hidden_size)
    backend = Gpu(Interpreted(), [interpreted])
    assert_plans_agree(backend, cell, shape, sizes, torch.float64, lengths, reverse)


any_cell = random_cells(noise=True, further=True)


@given(any_cell, st.sampled_from(SHAPES), st.sampled_from([5, 1]), st.booleans())
@settings(max_examples=10)
def test_random_cells(cell, shape, hidden_size, reverse):
    agree(cell, shape, hidden_size, reverse)


@pytest.mark.slow
@given(any_cell, st.sampled_from(SHAPES), st.sampled_from([4, 9]), st.booleans())
def test_more_random_cells(cell, shape, hidden_size, reverse):
    agree(cell, shape, hidden_size, reverse)
