"""Machine code against the reference: every plan, sizes off the grid, lengths, directions."""

import pytest
import torch

from gatework import cells
from gatework.backends.cpu.backend import Cpu
from gatework.backends.cpu.vector.target import without
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from plan_calls import (
    all_sizes,
    assert_plans_agree,
    assert_same,
    changed,
    compare,
    named,
    random_call,
)

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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_reference(name, shape, threads):
    cell, (steps, batch, *sizes) = getattr(cells, name), shape
    assert_plans_agree(Cpu(), cell, (steps, batch), all_sizes(cell, *sizes), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES[1::3])
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_reference_in_double_precision(name, shape, threads):
    """A vector holds half as many numbers; what is divided among threads is divided as above."""
    cell, (steps, batch, *sizes) = getattr(cells, name), shape
    assert_plans_agree(Cpu(), cell, (steps, batch), all_sizes(cell, *sizes), torch.float64)


@pytest.mark.parametrize(("threads", "reverse"), [(1, False), (2, True)], indirect=["threads"])
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
    call.tensors[0][~call.active()[..., 0]] = torch.nan
    found = Cpu().run(plan, call)
    compare("outputs", found.outputs, expected.outputs, 1e-10)


@pytest.mark.parametrize("features", [("avx512",), ("avx512", "avx2", "avx", "fma")])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((n, torch.float32) for n in CELLS), *((n, torch.float64) for n in CELLS[-2:])],
)
def test_narrower_processors(name, dtype, features):
    """The same source makes code for AVX2 and for processors with 16-byte vectors."""
    cell = getattr(cells, name)
    backend = Cpu(without(features))
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
    compare("outputs", second.outputs, first.outputs, 0)


def test_unwanted_results_are_left_out():
    plan = program(cells.gru).backward
    skip = frozenset({"d_x", "weight_ih", "bias_hh"})
    call = random_call(plan, (3, 2), all_sizes(cells.gru, 3, 5), torch.float64, skip=skip)
    found, expected = Cpu().run(plan, call), Reference().run(plan, call)
    names = (p.name for p in plan.recurrence.parameters)
    left_out = {n for n, g in zip(names, found.gradients, strict=True) if g is None}
    assert left_out == {"weight_ih", "bias_hh"}
    assert_same(found, expected, 1e-10)


def test_what_is_wanted_may_differ_from_call_to_call():
    """One backend, one shape: what an earlier call left out is there when it is wanted."""
    plan, backend = program(cells.gru).backward, Cpu()
    names = ("d_x", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for skip in (names, (), ("d_x",), names[1:], ("weight_hh", "bias_ih"), ()):
        call = random_call(
            plan, (3, 9), all_sizes(cells.gru, 3, 5), torch.float64, skip=frozenset(skip)
        )
        assert_same(backend.run(plan, call), Reference().run(plan, call), 1e-10)


def test_gradients_are_zero_where_no_sequence_has_a_step():
    for name in ("lstm", "layer_norm_gru", "gru_reset_before"):
        cell, lengths = getattr(cells, name), torch.zeros(4, dtype=torch.int64)
        sizes = all_sizes(cell, 3, 5)
        assert_plans_agree(Cpu(), cell, (3, 4), sizes, torch.float64, lengths)


def test_tensors_that_are_not_contiguous():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 6), torch.float32)
    x, turned = ("sequence", "x"), ("parameter", "weight_hh")
    given = named(plan, call)
    new = {x: given[x].transpose(0, 1).contiguous().transpose(0, 1), turned: given[turned].T}
    call = changed(plan, call, new)
    found, expected = Cpu().run(plan, call), Reference().run(plan, call)
    torch.testing.assert_close(found.outputs, expected.outputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_are_refused(dtype):
    plan = program(cells.rnn).forward
    call = random_call(plan, (2, 2), all_sizes(cells.rnn, 2, 2), dtype)
    assert "float32 and float64" in Cpu().refusal(plan, call)


@pytest.mark.parametrize(
    ("role", "name", "wrong"),
    [
        ("sequence", "x", torch.zeros(4, 3, 5)),
        ("state", "h", torch.zeros(2, 5)),
        ("parameter", "weight_hh", torch.zeros(5, 4)),
        ("parameter", "bias_hh", torch.zeros(5, dtype=torch.float64)),
        ("parameter", "bias_hh", torch.zeros(5, device="meta")),
    ],
)
def test_wrong_tensors_never_reach_native_code(role, name, wrong):
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    with pytest.raises(ValueError, match=f"{name} should be torch.float32 of shape .* on the CPU"):
        Cpu().run(plan, changed(plan, call, {(role, name): wrong}))


def test_wrong_lengths_never_reach_native_code():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    with pytest.raises(ValueError, match="lengths should have shape"):
        Cpu().run(plan, call._replace(lengths=torch.ones(2, dtype=torch.int64)))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Cpu().run(plan, call._replace(tensors=call.tensors[:-1]))
