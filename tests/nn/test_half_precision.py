"""float16 and bfloat16, as a layer's dtype and under autocast: float32 inside, rounded once."""

import copy

import numpy as np
import pytest
import torch

import gatework as gw
from numerics import assert_same, flat, randomised

both_dtypes = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
both_backends = pytest.mark.parametrize("backend", ["cpu", "reference"])


def pair(dtype, **arguments):
    """A layer of half precision, and one of float32 with the same weights."""
    layer = randomised(gw.nn.LSTM(3, 5, num_layers=2, **arguments)).to(dtype)
    return layer, copy.deepcopy(layer).float()


def rounded(results, dtype):
    return {n: v.to(dtype) for n, v in flat(results).items()}


@both_dtypes
@both_backends
def test_a_call_with_everything_is_float32s_rounded(dtype, backend):
    layer, exact = pair(dtype, bidirectional=True, batch_first=True)
    x, (h, c) = torch.randn(3, 7, 3).to(dtype), torch.randn(2, 4, 3, 5).to(dtype)
    gate = torch.rand(5).to(dtype)
    options = {"lengths": [7, 0, 4], "resets": torch.rand(3, 7) < 0.3}
    with gw.use_backend(backend):
        found = flat(layer(x, (h, c), pin={"f": gate}, **options))
        wide = exact(x.float(), (h.float(), c.float()), pin={"f": gate.float()}, **options)
    assert_same(found, rounded(wide, dtype), 0)


@both_dtypes
def test_gradients_are_float32s_rounded(dtype):
    layer, exact = pair(dtype)
    x = torch.randn(7, 2, 3).to(dtype).requires_grad_()
    wide = x.detach().float().requires_grad_()
    layer(x)[0].sum().backward()
    exact(wide)[0].sum().backward()
    assert torch.equal(x.grad, wide.grad.to(dtype))
    for p, q in zip(layer.parameters(), exact.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad.to(dtype))


def test_nothing_is_rounded_between_the_steps():
    @gw.cell(sizes={"h": "input"})
    def total(x, h):
        return h + x

    x = torch.full((4000, 1, 1), 0.001, dtype=torch.bfloat16)
    y, _ = gw.nn.Recurrent(total, 1, 1)(x)
    in_half = x.new_zeros(())
    for value in x.flatten():
        in_half = in_half + value
    assert abs(y[-1].item() - 4) < 0.02
    assert in_half < 1  # what bfloat16 makes of it


@both_dtypes
@both_backends
def test_autocast_takes_either_dtype_and_gives_its_own(dtype, backend):
    layer = randomised(gw.nn.LSTM(3, 5, num_layers=2, bidirectional=True))
    x, state = torch.randn(6, 2, 3), tuple(torch.randn(2, 4, 2, 5))
    expected = rounded(layer(x, state), dtype)
    with gw.use_backend(backend), torch.autocast("cpu", dtype=dtype):
        assert_same(flat(layer(x, state)), expected, 2e-3 if backend == "reference" else 0)
        low = x.to(dtype), tuple(s.to(dtype) for s in state)
        assert_same(flat(layer(*low)), rounded(layer(low[0].float(), low[1]), dtype), 0)


@pytest.mark.parametrize("name", ["LSTM", "RNN"])
def test_autocast_gives_the_dtypes_that_torch_gives(name):
    theirs, ours = (getattr(library, name)(3, 5) for library in (torch.nn, gw.nn))
    x = torch.randn(6, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = flat(ours(x)), flat(theirs(x))
    assert [t.dtype for t in found.values()] == [t.dtype for t in expected.values()]


@both_backends
def test_gradients_under_autocast_are_those_without(backend):
    layer = gw.nn.GRU(3, 5)
    x = torch.randn(6, 2, 3, requires_grad=True)
    sources = [x, *layer.parameters()]
    weights = torch.randn(6, 2, 5)
    with gw.use_backend(backend), torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad((layer(x)[0].float() * weights).sum(), sources)
    expected = torch.autograd.grad((layer(x)[0] * weights.bfloat16()).sum(), sources)
    for f, e in zip(found, expected, strict=True):
        assert f.dtype == torch.float32
        torch.testing.assert_close(f, e, rtol=1e-5, atol=1e-5)


def test_float64_stays_float64_under_autocast():
    layer, x = gw.nn.GRU(3, 5, dtype=torch.float64), torch.randn(6, 2, 3, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x)[0], layer(x)[0].double())
        assert layer(x)[0].dtype == torch.float64


@both_dtypes
def test_packed_sequences_traces_and_single_steps(dtype):
    layer, exact = pair(dtype)
    x = torch.randn(6, 2, 3).to(dtype)
    pack = torch.nn.utils.rnn.pack_padded_sequence
    found = layer(pack(x, [6, 3]))
    assert_same(flat(found), rounded(exact(pack(x.float(), [6, 3])), dtype), 0)
    trace, wide = layer.trace(x), exact.trace(x.float())
    assert_same(dict(trace), {n: v.to(dtype) for n, v in wide.items()}, 0)
    step = randomised(gw.nn.LSTMCell(3, 5)).to(dtype)
    same = copy.deepcopy(step).float()
    h, c = step(x[0], step(x[1]))
    state = tuple(s.to(dtype).float() for s in same(x[1].float()))
    assert_same(flat((h, c)), rounded(same(x[0].float(), state), dtype), 0)


def test_a_single_step_under_autocast_keeps_its_state_in_float32():
    step, x = gw.nn.LSTMCell(3, 5), torch.randn(2, 3)
    expected = step(x, step(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(flat(step(x, step(x))), flat(expected), 0)


def test_a_stream_keeps_its_state_in_float32():
    layer, exact = pair(torch.bfloat16)
    x = torch.randn(20, 1, 3).bfloat16()
    stream, wide = layer.eval().stream(), exact.eval().stream()
    for x_t in x:
        y = stream.step(x_t)
        assert y.dtype == torch.bfloat16
        assert torch.equal(y, wide.step(x_t.float()).bfloat16())
    assert_same(flat(stream.state), flat(wide.state), 0)
    stream.state = tuple(s.bfloat16() for s in wide.state)
    half = layer.half().stream()
    assert half.step(np.zeros((1, 3), np.float16)).dtype == np.float16


def test_dtypes_that_do_not_fit_are_still_refused():
    layer = gw.nn.LSTM(3, 5)
    with pytest.raises(ValueError, match=r"does not match weight dtype \(torch.float32\)"):
        layer(torch.randn(6, 2, 3).bfloat16())
    with pytest.raises(ValueError, match=r"does not match weight dtype \(torch.bfloat16\)"):
        layer.bfloat16()(torch.randn(6, 2, 3))
    state = tuple(torch.zeros(2, 1, 2, 5, dtype=torch.float64))
    with pytest.raises(RuntimeError, match=r"the state 'h' is torch\.float64"):
        layer(torch.randn(6, 2, 3).bfloat16(), state)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ValueError, match=r"dtype \(torch.float64\)"),
    ):
        layer(torch.randn(6, 2, 3, dtype=torch.float64))
