"""A list of sequences as input: each gives what it gives alone."""

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw


def sequences(*steps, dtype=torch.float32):
    return [torch.randn(n, 3, dtype=dtype) for n in steps]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("make", [gw.nn.LSTM, gw.nn.GRU, nn.LSTM])
def test_each_sequence_gives_what_it_gives_alone(make, batch_first):
    layer = make(3, 5, num_layers=2, bidirectional=True, batch_first=batch_first)
    layer = gw.accelerate(layer) if make is nn.LSTM else layer
    listed = [x.requires_grad_() for x in sequences(4, 1, 6)]
    outputs, state = layer(listed)
    found = torch.autograd.grad(sum(y.square().sum() for y in outputs), listed)
    state = state if isinstance(state, tuple) else (state,)
    for k, (x, y) in enumerate(zip(listed, outputs, strict=True)):
        wanted, final = layer(x)
        final = final if isinstance(final, tuple) else (final,)
        torch.testing.assert_close(y, wanted, atol=1e-6, rtol=1e-5)
        for s, f in zip(state, final, strict=True):
            torch.testing.assert_close(s[:, k], f, atol=1e-6, rtol=1e-5)
        (gradient,) = torch.autograd.grad(wanted.square().sum(), x)
        torch.testing.assert_close(found[k], gradient, atol=1e-5, rtol=1e-4)


def test_arrays_and_a_sequence_without_steps():
    layer = gw.nn.GRU(3, 5)
    listed = [x.numpy() for x in sequences(4, 0, 2)]
    outputs, h = layer(tuple(listed))
    assert [y.shape for y in outputs] == [(4, 5), (0, 5), (2, 5)]
    assert not h[0, 1].any()
    torch.testing.assert_close(outputs[2], layer(torch.from_numpy(listed[2]))[0])


def test_traces_resets_and_half_precision():
    layer, listed = gw.nn.GRU(3, 5), sequences(4, 2)
    trace = layer.trace(listed)
    assert trace.lengths.tolist() == [4, 2]
    assert trace["z"].shape == (4, 2, 5)
    torch.testing.assert_close(trace["z"][:2, 1], layer.trace(listed[1])["z"])
    resets = [torch.tensor([False, False, True, False]), torch.tensor([False, True])]
    outputs, _ = layer(listed, resets=resets)
    torch.testing.assert_close(outputs[0][2:], layer(listed[0][2:])[0])
    torch.testing.assert_close(outputs[1][1:], layer(listed[1][1:])[0])
    low, _ = layer.to(torch.bfloat16)(sequences(4, 2, dtype=torch.bfloat16))
    assert low[1].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "options", "error", "phrase"),
    [
        ([], {}, ValueError, "an empty one"),
        ([[1.0, 2.0]], {}, TypeError, "element 0 is of type list"),
        ([torch.zeros(4, 3), None], {}, TypeError, "element 1 is of type NoneType"),
        (
            [torch.zeros(4, 3), torch.zeros(4, 2)],
            {},
            ValueError,
            r"element 1 has the shape \[4, 2\]",
        ),
        ([torch.zeros(4, 1, 3)], {}, ValueError, "element 0 has the shape"),
        ([torch.zeros(4, 3), torch.zeros(4, 3).double()], {}, ValueError, "one dtype and device"),
        ([np.zeros((4, 2))], {}, RuntimeError, "must be equal to input_size"),
        ([torch.zeros(4, 2)], {}, RuntimeError, "must be equal to input_size"),
        ([torch.zeros(4, 3)], {"lengths": [4]}, ValueError, "leave lengths= out"),
        ([torch.zeros(0, 3)], {}, RuntimeError, "larger than 0"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(given, options, error, phrase):
    with pytest.raises(error, match=phrase):
        gw.nn.GRU(3, 5)(given, **options)
