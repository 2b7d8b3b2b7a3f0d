"""Step by step gives what the whole sequence gives."""

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


def one_step(call):
    """The call with one step's memory in the place of its sequence."""
    x, *others = call.tensors
    return call._replace(shape=(1, call.shape[1]), tensors=(torch.zeros_like(x[:1]), *others))


def stream_and_call(name, batch=2, steps=5, dtype=torch.float64):
    cell = getattr(cells, name)
    plan = program(cell).forward
    call = random_call(plan, (steps, batch), all_sizes(cell, 6, 20), dtype)
    return Stream(Cpu(), plan, one_step(call)), plan, call


def after(stream, x):
    """The output for one input."""
    stream.input.copy_(x)
    stream.step()
    return stream.output.clone()


@pytest.mark.parametrize("name", CELLS)
def test_equals_the_whole_sequence(name):
    stream, plan, call = stream_and_call(name)
    expected = Reference().run(plan, call)
    rows = given(plan, call)
    stream.state = rows.states
    (outputs,) = expected.outputs
    for x, y in zip(rows.sequences["x"], outputs, strict=True):
        torch.testing.assert_close(after(stream, x), y, rtol=0, atol=1e-10)
    for found, state in zip(stream.state, expected.states, strict=True):
        torch.testing.assert_close(found, state, rtol=0, atol=1e-10)


def test_one_stream_reads_what_another_writes():
    lower, _, call = stream_and_call("gru")
    cell = cells.gru
    plan = program(cell).forward
    above = random_call(plan, (1, 2), all_sizes(cell, 20, 20), torch.float64)
    upper = Stream(Cpu(), plan, above._replace(tensors=(lower.output[None], *above.tensors[1:])))
    apart = Stream(Cpu(), plan, one_step(above))
    for x in call.tensors[0]:
        y = after(lower, x)
        upper.step()
        assert torch.equal(upper.output, after(apart, y))


@pytest.mark.parametrize("steps", [1, 2])
def test_a_state_can_be_saved_and_set(steps):
    stream, _, call = stream_and_call("gru")
    xs = call.tensors[0]
    for x in xs[:steps]:
        after(stream, x)
    saved, y = stream.state, after(stream, xs[3])
    after(stream, xs[0])
    stream.state = saved
    torch.testing.assert_close(after(stream, xs[3]), y, rtol=0, atol=0)


def test_other_calls_leave_a_stream_alone():
    stream, plan, call = stream_and_call("lstm")
    other, _, _ = stream_and_call("lstm")
    x = call.tensors[0][0]
    Cpu().run(plan, call)
    torch.testing.assert_close(after(stream, x), after(other, x), rtol=0, atol=0)


def test_later_changes_of_the_weights_do_not_reach_it():
    stream, _, call = stream_and_call("lstm")
    other, _, _ = stream_and_call("lstm")
    x = call.tensors[0][0].clone()
    for tensor in call.tensors:
        tensor.zero_()
    torch.testing.assert_close(after(stream, x), after(other, x), rtol=0, atol=0)


def test_no_sequences_at_all():
    _, plan, call = stream_and_call("lstm")
    with pytest.raises(ValueError, match="at least 1"):
        Stream(Cpu(), plan, one_step(call)._replace(shape=(1, 0)))
