"""A stream gives what a call over the whole sequence gives."""

import numpy as np
import pytest
import torch

import gatework as gw


def own_sizes(cell):
    return dict.fromkeys(cell.size_names(), 4)


def whole(layer, x, hx=None):
    with torch.no_grad():
        return layer.eval()(x, hx)


def tupled(state):
    return state if isinstance(state, tuple) else (state,)


def streamed(stream, x):
    return torch.stack([stream.step(x_t).clone() for x_t in x])


@pytest.mark.parametrize("name", gw.cells.catalogue())
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_stream_is_the_whole_sequence_in_one_call(name, backend):
    cell = gw.cells.catalogue()[name]
    features = 4 if cell.input.size == "hidden" else 3
    layer = gw.nn.Recurrent(cell, features, 4, num_layers=2, **own_sizes(cell))
    x = torch.randn(5, 2, features)
    with gw.use_backend(backend):
        stream = layer.stream(2)
        y, state = whole(layer, x)
        torch.testing.assert_close(streamed(stream, x), y, atol=1e-6, rtol=1e-5)
    for mine, theirs in zip(tupled(stream.state), tupled(state), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_and_arrays_alone_and_in_a_batch(dtype):
    layer = gw.nn.LSTM(3, 5, dtype=dtype)
    x = torch.randn(4, 1, 3, dtype=dtype)
    wanted = whole(layer, x)[0]
    for row in (
        lambda t: x[t],
        lambda t: x[t, 0],
        lambda t: x[t].numpy(),
        lambda t: x[t, 0].numpy(),
    ):
        stream = layer.stream()
        for t in range(4):
            y = stream.step(row(t))
            assert isinstance(y, type(row(t)))
            assert y.shape == ((1, 5) if row(t).ndim == 2 else (5,))
            torch.testing.assert_close(torch.as_tensor(y).view(5), wanted[t, 0], atol=1e-6, rtol=0)


def test_a_precision_that_numpy_lacks_takes_tensors_alone():
    stream = gw.nn.GRU(3, 5, dtype=torch.bfloat16).stream()
    assert stream.step(torch.zeros(3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    with pytest.raises(TypeError, match=r"should be a tensor of torch\.bfloat16, got float32"):
        stream.step(np.zeros(3, np.float32))


def test_strided_rows_are_read_as_they_are():
    layer = gw.nn.GRU(3, 5)
    x = torch.randn(4, 3, 2).transpose(1, 2)  # rows that are not contiguous
    assert torch.allclose(streamed(layer.stream(2), x), whole(layer, x)[0], atol=1e-6)


def test_the_state_is_read_saved_set_and_reset():
    layer = gw.nn.LSTM(3, 5, num_layers=2)
    x, stream = torch.randn(6, 2, 3), layer.stream(2)
    first = streamed(stream, x[:3])
    saved = stream.state
    second = streamed(stream, x[3:])
    assert torch.allclose(torch.cat([first, second]), whole(layer, x)[0], atol=1e-6)
    stream.state = saved
    assert torch.equal(streamed(stream, x[3:]), second)
    stream.reset()
    assert torch.equal(streamed(stream, x[:3]), first)
    assert all((s != 0).any() for s in saved), "the saved state is a copy"


def test_a_step_sees_weights_that_were_changed_in_place():
    layer, other = gw.nn.GRU(3, 5), gw.nn.GRU(3, 5)
    x, stream = torch.randn(4, 1, 3), layer.stream()
    streamed(stream, x[:2])
    state = stream.state
    layer.load_state_dict(other.state_dict())
    wanted = whole(other, x[2:], state)[0]
    assert torch.allclose(streamed(stream, x[2:]), wanted, atol=1e-6)


def test_noise_is_at_its_expected_value():
    @gw.cell
    def noisy(x, h):
        return gw.tanh(gw.linear("n", x, gw.dropout(h, 0.5)))

    layer = gw.nn.Recurrent(noisy, 3, 5)
    x = torch.randn(4, 1, 3)
    assert torch.allclose(streamed(layer.stream(), x), whole(layer, x)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("act", "error", "phrase"),
    [
        (lambda: gw.nn.GRU(3, 5, bidirectional=True).stream(), ValueError, "bidirectional"),
        (lambda: gw.nn.GRU(3, 5).stream(0), ValueError, "batch_size must be greater than zero"),
        (lambda: gw.nn.GRU(3, 5).stream(1.5), TypeError, "batch_size should be of type int"),
        (lambda: gw.nn.GRU(3, 5).stream().step([1.0, 2.0, 3.0]), TypeError, "got list"),
        (lambda: gw.nn.GRU(3, 5).stream().step(torch.zeros(4)), ValueError, r"shape \[1, 3\]"),
        (lambda: gw.nn.GRU(3, 5).stream().step(torch.zeros(1, 1, 3)), ValueError, "shape"),
        (lambda: gw.nn.GRU(3, 5).stream().step(np.zeros(3)), TypeError, "float32, got float64"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(act, error, phrase):
    with pytest.raises(error, match=phrase):
        act()


@pytest.mark.parametrize("state", [torch.zeros(1, 1, 4), (torch.zeros(1, 1, 5),) * 2, 3])
def test_a_state_of_another_form_is_refused(state):
    stream = gw.nn.GRU(3, 5).stream()
    with pytest.raises((ValueError, TypeError), match="state"):
        stream.state = state
