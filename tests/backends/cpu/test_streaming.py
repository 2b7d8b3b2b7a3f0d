"""Step by step gives what the whole sequence gives."""

import numpy as np
import pytest
import torch

from gatework import cells
from gatework.backends import given
from gatework.backends.cpu import Cpu
from gatework.backends.cpu.streaming import Stream
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from plan_calls import all_sizes, random_call

CELLS = ["rnn", "lstm", "gru", "gru_reset_before", "layer_norm_lstm", "peephole_lstm"]


def stream_and_call(name, batch=2, steps=5, dtype=torch.float64):
    cell = getattr(cells, name)
    plan = program(cell).forward
    call = random_call(plan, (steps, batch), all_sizes(cell, 6, 20), dtype)
    return Stream(Cpu(), plan, call), plan, call


@pytest.mark.parametrize("name", CELLS)
def test_equals_the_whole_sequence(name):
    stream, plan, call = stream_and_call(name)
    expected = Reference().run(plan, call)
    rows = given(plan, call)
    stream.state = rows.states
    (outputs,) = expected.outputs
    for x, y in zip(rows.sequences["x"], outputs, strict=True):
        torch.testing.assert_close(stream.step(x), y, rtol=0, atol=1e-10)
    for found, state in zip(stream.state, expected.states, strict=True):
        torch.testing.assert_close(found, state, rtol=0, atol=1e-10)


def test_arrays_and_tensors_alike():
    stream, _, call = stream_and_call("lstm", dtype=torch.float32)
    x = call.tensors[0][0]
    y = stream.step(x).clone()
    stream.reset()
    found = stream.step(x.numpy())
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, y.numpy())


@pytest.mark.parametrize("steps", [1, 2])
def test_a_state_can_be_saved_and_set(steps):
    stream, _, call = stream_and_call("gru")
    xs = call.tensors[0]
    for x in xs[:steps]:
        stream.step(x)
    saved, y = stream.state, stream.step(xs[3]).clone()
    stream.step(xs[0])
    stream.state = saved
    torch.testing.assert_close(stream.step(xs[3]), y, rtol=0, atol=0)


def test_other_calls_leave_a_stream_alone():
    stream, plan, call = stream_and_call("lstm")
    other, _, _ = stream_and_call("lstm")
    x = call.tensors[0][0]
    Cpu().run(plan, call)
    torch.testing.assert_close(stream.step(x), other.step(x), rtol=0, atol=0)


def test_later_changes_of_the_weights_do_not_reach_it():
    stream, _, call = stream_and_call("lstm")
    other, _, _ = stream_and_call("lstm")
    x = call.tensors[0][0].clone()
    for tensor in call.tensors:
        tensor.zero_()
    torch.testing.assert_close(stream.step(x), other.step(x), rtol=0, atol=0)


def test_no_sequences_at_all():
    _, plan, call = stream_and_call("lstm")
    with pytest.raises(ValueError, match="at least 1"):
        Stream(Cpu(), plan, call._replace(shape=(1, 0)))
