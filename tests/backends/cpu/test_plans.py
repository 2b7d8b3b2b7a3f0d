"""Machine code against the reference: every plan, sizes off the grid, lengths, directions."""

import pytest
import torch

from gatework import cells
from gatework.backends.cpu.backend import Cpu
from gatework.backends.cpu.target import without
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from plan_calls import all_sizes, assert_plans_agree, random_call

CELLS = ["rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm", "layer_norm_lstm"]
SHAPES = [  # T, B, I, H; threads share units in up to four steps, and for a few sequences
    (1, 1, 1, 1),
    (1, 5, 9, 130),
    (1, 130, 7, 33),
    (2, 1, 9, 130),
    (3, 2, 16, 16),
    (4, 40, 5, 65),
    (5, 2, 9, 130),
    (5, 7, 5, 33),
    (5, 40, 17, 65),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_reference(name, shape, dtype, threads):
    cell, (steps, batch, *sizes) = getattr(cells, name), shape
    assert_plans_agree(Cpu(), cell, (steps, batch), all_sizes(cell, *sizes), dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(1, 6), (2, 9), (5, 3), (5, 30)])
@pytest.mark.parametrize("name", CELLS)
def test_lengths_and_direction(name, shape, reverse, threads):
    cell, (steps, batch) = getattr(cells, name), shape
    lengths = torch.randint(0, steps + 1, (batch,))
    sizes = all_sizes(cell, 3, 20)
    assert_plans_agree(Cpu(), cell, shape, sizes, torch.float64, lengths, reverse)


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_padding_is_never_read(name):
    """Whatever stands behind a sequence's end, NaN too, changes nothing."""
    cell = getattr(cells, name)
    plan, lengths = program(cell).keeping, torch.tensor([2, 0, 4])
    call = random_call(plan, (4, 3), all_sizes(cell, 3, 5), torch.float64, lengths=lengths)
    expected = Reference().run(plan, call)
    call.sequences["x"][~call.active()[..., 0]] = torch.nan
    found = Cpu().run(plan, call)
    for key, value in expected.outputs.items():
        torch.testing.assert_close(found.outputs[key], value)


@pytest.mark.parametrize("features", [("avx512",), ("avx512", "avx2", "avx", "fma")])
@pytest.mark.parametrize("name", CELLS)
def test_narrower_processors(name, features):
    """The same source makes code for AVX2 and for processors with 16-byte vectors."""
    cell = getattr(cells, name)
    backend = Cpu(without(features))
    for dtype in (torch.float32, torch.float64):
        assert_plans_agree(backend, cell, (3, 9), all_sizes(cell, 5, 21), dtype)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0)])
@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_nothing_to_do(name, shape):
    cell = getattr(cells, name)
    assert_plans_agree(Cpu(), cell, shape, all_sizes(cell, 3, 4), torch.float32)
    lengths = torch.zeros(shape[1], dtype=torch.int64)
    assert_plans_agree(Cpu(), cell, shape, all_sizes(cell, 3, 4), torch.float32, lengths)


def test_same_threads_same_bits(threads):
    plan = program(cells.lstm).keeping
    call = random_call(plan, (6, 9), all_sizes(cells.lstm, 7, 70), torch.float32)
    first, second = (Cpu().run(plan, call) for _ in range(2))
    for name, value in first.outputs.items():
        torch.testing.assert_close(second.outputs[name], value, rtol=0, atol=0)


def test_unwanted_results_are_left_out():
    plan = program(cells.gru).backward
    skip = frozenset({"d_x", "weight_ih", "bias_hh"})
    call = random_call(plan, (3, 2), all_sizes(cells.gru, 3, 5), torch.float64, skip=skip)
    found, expected = Cpu().run(plan, call), Reference().run(plan, call)
    assert set(found.gradients) == set(expected.gradients) == {"weight_hh", "bias_ih"}
    assert set(found.outputs) == set(expected.outputs)


def test_tensors_that_are_not_contiguous():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 6), torch.float32)
    call.sequences["x"] = call.sequences["x"].transpose(0, 1).contiguous().transpose(0, 1)
    call.parameters["weight_hh"] = call.parameters["weight_hh"].T
    found, expected = Cpu().run(plan, call), Reference().run(plan, call)
    torch.testing.assert_close(found.outputs["h"], expected.outputs["h"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_are_refused(dtype):
    plan = program(cells.rnn).forward
    call = random_call(plan, (2, 2), all_sizes(cells.rnn, 2, 2), dtype)
    assert "float32 and float64" in Cpu().refusal(plan, call)


@pytest.mark.parametrize("kind", ["sequences", "states", "parameters", "lengths", "dtype"])
def test_wrong_tensors_never_reach_native_code(kind):
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    if kind == "sequences":
        call.sequences["x"] = torch.zeros(4, 3, 5)
    elif kind == "parameters":
        call.parameters["weight_hh"] = torch.zeros(5, 4)
    elif kind == "dtype":
        call.parameters["bias_hh"] = torch.zeros(5, dtype=torch.float64)
    elif kind == "states":
        call = call._replace(states=(torch.zeros(2, 5),))
    else:
        call = call._replace(lengths=torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="should"):
        Cpu().run(plan, call)
