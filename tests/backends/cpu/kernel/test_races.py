"""Large calls on several threads, again and again: what the plans promise, seen in numbers."""

import pytest
import torch

from deep_cells import DEEP_CELLS
from gatework import cells
from gatework.backends.cpu import Cpu
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from plan_calls import TOLERANCE, all_sizes, assert_same, backward_call, random_call

THREADS = (2, 4)
TIMES = 2


@pytest.fixture(autouse=True)
def _as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def agree(cell, plan, shape, sizes, dtype):
    """The backward plan of a cell gives what the reference gives, on any number of threads."""
    plans, backend = program(cell), Cpu()
    call = random_call(plans.keeping, shape, all_sizes(cell, *sizes), dtype)
    back = backward_call(cell, call, Reference().run(plans.keeping, call))
    expected = Reference().run(plan, back)
    for threads in THREADS * TIMES:
        torch.set_num_threads(threads)
        assert_same(backend.run(plan, back), expected, 10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DEEP_CELLS)
def test_what_is_computed_after_the_loop_is_complete(name, dtype):
    cell = DEEP_CELLS[name]
    agree(cell, program(cell).backward, (33, 40), (20, 64), dtype)


@pytest.mark.parametrize("name", ["gru_reset_before", "dsgu"])
def test_a_single_step(name):
    """Here the loop of the catalogue's cells leaves something to be done after it, too."""
    cell = getattr(cells, name)
    agree(cell, program(cell).backward_of_one, (1, 2000), (32, 48), torch.float64)
