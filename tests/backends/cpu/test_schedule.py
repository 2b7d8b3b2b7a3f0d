"""What is chosen for a call, at the sizes where the choice changes. No kernel is made.

The vanilla RNN of 30 inputs and 32 units has 2,048 weights, so 256 rows are worth a second thread.
"""

from itertools import chain

import pytest
import torch

from gatework import cells
from gatework.backends.calls import Call
from gatework.backends.cpu import schedule
from gatework.backends.cpu.schedule import Schedule, choose
from gatework.backends.cpu.vector.target import Target
from gatework.compiler.program import program

PLAN = program(cells.rnn).forward
WIDE = Target("any", "any", "", vector_bytes=64, registers=32)  # V = 4; 16 floats or 8 doubles
NARROW = Target("any", "any", "", vector_bytes=32, registers=16)  # V = 2; 8 floats or 4 doubles
WORTH_SHARING = schedule.WORTH_SHARING


@pytest.fixture(autouse=True)
def _little_work_is_not_shared(monkeypatch, _any_work_is_shared):
    """As it is outside of this folder's tests."""
    monkeypatch.setattr(schedule, "WORTH_SHARING", WORTH_SHARING)


def chosen(steps, batch, units=32, threads=1, target=WIDE, element="float", lasting=False, **call):
    sizes = {"input": 30, "hidden": units}
    return choose(PLAN, Call((steps, batch), sizes, (), **call), element, target, threads, lasting)


TABLE = [
    # T, B, units, threads there are -> threads, whether they share units, merged, weights
    ((51, 5, 32, 4), (1, False, False, "packed")),  # 255 rows
    ((64, 4, 32, 4), (4, True, False, "packed")),  # 256 rows
    # units are shared below four sequences a thread, and in four steps with 32 units a thread
    ((900, 15, 32, 4), (4, True, True, "packed")),
    ((900, 16, 32, 4), (4, False, True, "packed")),
    ((900, 1, 32, 1), (1, False, False, "packed")),
    ((4, 900, 128, 4), (4, True, True, "packed")),
    ((5, 900, 128, 4), (4, False, True, "packed")),
    ((4, 900, 127, 4), (4, False, True, "packed")),
    # the input's products are done in the loop from eight sequences on, and in so few steps
    ((900, 7, 32, 1), (1, False, False, "packed")),
    ((900, 8, 32, 1), (1, False, True, "packed")),
    ((4, 1, 32, 1), (1, False, True, "packed")),
    ((5, 1, 32, 1), (1, False, False, "packed")),
    ((4, 1, 31, 1), (1, False, False, "packed")),
    # two rows read weights as they lie; a step, where one thread reads each block, as it comes
    ((1, 2, 32, 1), (1, False, True, "direct")),
    ((2, 1, 32, 1), (1, False, True, "direct")),
    ((1, 3, 32, 1), (1, False, True, "block")),
    ((3, 1, 32, 1), (1, False, True, "packed")),
    ((1, 128, 32, 1), (1, False, True, "block")),
    ((1, 129, 32, 1), (1, False, True, "packed")),
    ((2, 2, 32, 1), (1, False, True, "packed")),
    ((1, 128, 128, 4), (4, True, True, "block")),
    ((1, 128, 127, 4), (4, False, True, "packed")),
    ((0, 3, 32, 4), (1, False, True, "direct")),
    ((3, 0, 32, 4), (1, False, True, "direct")),
]


@pytest.mark.parametrize(("given", "expected"), TABLE, ids=lambda case: "-".join(map(str, case)))
def test_the_table_of_choices(given, expected):
    found = chosen(*given)
    setting = found.setting
    assert (found.threads, found.shared, setting.merged, setting.weights) == expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1)])
def test_weights_that_last_are_packed(shape):
    assert chosen(*shape, lasting=True).setting.weights == "packed"


WIDEST = [
    # T, units, threads, target, element -> vectors of a block
    ((900, 16, 1, WIDE, "float"), 2),  # the largest size is the input's 30
    ((900, 32, 1, WIDE, "float"), 2),
    ((900, 33, 1, WIDE, "float"), 3),
    ((900, 49, 1, WIDE, "float"), 4),
    ((900, 500, 1, WIDE, "float"), 4),
    ((900, 33, 1, WIDE, "double"), 4),
    ((900, 500, 1, NARROW, "float"), 2),
    ((900, 8, 1, NARROW, "double"), 2),
    # each of the threads that share units gets a block
    ((900, 112, 4, WIDE, "float"), 1),
    ((900, 128, 4, WIDE, "float"), 2),
    ((900, 32, 4, WIDE, "float"), 1),
    ((900, 256, 4, WIDE, "float"), 4),
]


@pytest.mark.parametrize(("given", "expected"), WIDEST, ids=str)
def test_blocks_are_as_wide_as_the_tile_where_there_are_enough(given, expected):
    steps, units, threads, target, element = given
    found = chosen(steps, 3, units, threads, target, element)
    assert found.shared == (threads > 1)
    assert found.setting.widest == expected


def test_threads_with_sequences_of_their_own_have_the_widest_blocks():
    found = chosen(900, 16, 64, threads=4)
    assert not found.shared
    assert found.setting.widest == 4


def test_what_the_call_says_is_passed_on():
    found = chosen(5, 2, lengths=torch.tensor([5, 3]), reverse=True)
    assert found.setting.ragged
    assert (found.shape, found.reverse) == ((5, 2), True)
    assert not chosen(5, 2).setting.ragged


# ---- the order of the sequences ----------------------------------------------------------------

LENGTHS = torch.tensor([1, 5, 3, 2, 4])
ORDERS = {  # threads, shared -> the order of the sequences, part by part
    (1, False): [[1, 4, 2, 3, 0]],
    (2, False): [[4, 3], [1, 2, 0]],
    (3, False): [[2], [1, 3], [4, 0]],
    (2, True): [[1, 4, 2, 3, 0]],
}


@pytest.mark.parametrize(("threads", "shared"), ORDERS)
def test_every_part_has_long_and_short_sequences_longest_first(threads, shared):
    setting = chosen(5, 5, lengths=LENGTHS).setting
    order, _ = Schedule(setting, threads, shared, (5, 5), reverse=False).rows(LENGTHS)
    assert order.tolist() == list(chain(*ORDERS[threads, shared]))


def test_the_rows_that_are_run_are_those_within_their_sequence():
    found = chosen(3, 3, lengths=torch.tensor([2, 0, 3]))
    _, rows = found.rows(torch.tensor([2, 0, 3]))
    assert rows.tolist() == [0, 2, 3, 5, 8]  # t·B + b
