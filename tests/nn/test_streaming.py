"""A stream gives what a call over the whole sequence gives."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import multiprocessing, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import (
    parameters_to_vector,
    parametrizations,
    parametrize,
    prune,
    vector_to_parameters,
)

import gatework as gw
from feeding import recurrent
from forms import one_of_each_form
from parts_of_suite import mostly_slow
from plain_sizes import plain_sizes
from process_work import step_in_place


def own_sizes(cell):
    return plain_sizes(cell, 4)


def whole(layer, x, hx=None):
    with torch.no_grad():
        return layer.eval()(x, hx)


def tupled(state):
    return state if isinstance(state, tuple) else (state,)


def streamed(stream, x):
    return torch.stack([stream.step(x_t).clone() for x_t in x])


FORMS = one_of_each_form(gw.cells.catalogue())


@pytest.mark.parametrize(
    "name", mostly_slow(sorted({*FORMS, "gru", "gru_reset_before", "layer_norm_lstm"}))
)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_stream_is_the_whole_sequence_in_one_call(name, backend):
    """Of two layers; the battery of tests/cells streams every cell in one, with resets."""
    cell = gw.cells.catalogue()[name]
    alike = cell.input.size == "hidden" or "input" in {
        s.size for s in (*cell.further, *cell.states)
    }
    features = 4 if alike else 3
    layer = recurrent(cell, features, 4, num_layers=2, **own_sizes(cell))
    x = torch.randn(5, 2, features)
    with gw.use_backend(backend):
        stream = layer.stream(2)
        y, state = whole(layer, x)
        torch.testing.assert_close(streamed(stream, x), y, atol=1e-6, rtol=1e-5)
    for mine, theirs in zip(tupled(stream.state), tupled(state), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


@gw.cell(sizes={"last": "input"})
def shifted(x, h, last):
    return gw.tanh(gw.linear("n", last, h)), x


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_state_that_is_the_input_stays_when_the_input_is_overwritten(backend):
    layer, x = gw.nn.Recurrent(shifted, 3, 5), torch.randn(4, 2, 3)
    with gw.use_backend(backend), torch.no_grad():
        y, (_, last) = layer(x)
        torch.testing.assert_close(streamed(layer.stream(2), x), y)
        kept = x[-1].clone()
        x.zero_()
    assert torch.equal(last[0], kept)


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


# ---- changes of the weights ---------------------------------------------------------------------


class Halved(nn.Module):
    """A parametrisation without parameters."""

    def forward(self, weight):
        return 0.5 * weight


def stepping(make):
    """A step of an optimiser with random gradients."""

    def change(layer, step):
        for p in layer.parameters():
            p.grad = torch.randn_like(p)
        make(layer.parameters()).step()

    return change


def each(write):
    """A change of every parameter; without a gradient."""

    @torch.no_grad()
    def change(layer, step):
        for name, p in list(layer.named_parameters()):
            write(layer, name, p)

    return change


def one_alone(layer, name):
    with torch.no_grad():
        getattr(layer, name).mul_(0.5)


def halved_weights(layer):
    return {name: 0.5 * w for name, w in layer.state_dict().items()}


def two_moves(layer, name, p):
    p.data = 0.5 * p.data
    p.data = 0.5 * p.data  # may lie where the first one lay


def first(way, then):
    """A change that counts only after a step in between has read the weights."""

    def change(layer, step):
        way(layer, "weight_hh_l0")
        step()
        then(layer, step)

    return change


def halve(layer, name):
    parametrize.register_parametrization(layer, name, Halved())


def make_by_hand(layer, step):
    """A weight that a wrapper sets before each call, where a parameter of that name was."""
    bias = layer.bias_hh_l1
    del layer.bias_hh_l1
    layer.register_parameter("raw", bias)
    layer.bias_hh_l1 = bias.detach() * 0.5
    step()
    layer.bias_hh_l1 = bias.detach() * 0.25


fused = stepping(lambda p: torch.optim.Adam(p, 0.1, fused=True))
sgd = stepping(lambda p: torch.optim.SGD(p, 0.1))
CHANGES = {
    **{
        f"{name} alone": lambda layer, step, name=name: one_alone(layer, name)
        for name in gw.nn.GRU(1, 1, num_layers=2).state_dict()
    },
    "load_state_dict": lambda layer, step: layer.load_state_dict(halved_weights(layer)),
    "assign": lambda layer, step: layer.load_state_dict(halved_weights(layer), assign=True),
    "Adam": stepping(lambda p: torch.optim.Adam(p, 0.1)),
    "Adam, fused": fused,
    "SGD, fused": stepping(lambda p: torch.optim.SGD(p, 0.1, fused=True)),
    "new parameters": each(lambda layer, name, p: setattr(layer, name, nn.Parameter(0.5 * p))),
    "the same memory": each(lambda layer, n, p: setattr(layer, n, nn.Parameter(p.data.mul_(0.5)))),
    "data": each(lambda layer, name, p: setattr(p, "data", 0.5 * p.data)),
    "data, twice": each(two_moves),
    "vector_to_parameters": lambda layer, step: vector_to_parameters(
        0.5 * parameters_to_vector(layer.parameters()), layer.parameters()
    ),
    "in inference mode": torch.inference_mode()(each(lambda layer, name, p: p.mul_(0.5))),
    "prune": lambda layer, step: prune.l1_unstructured(layer, "bias_hh_l1", 0.5),
    "pruned, then trained": first(lambda *at: prune.l1_unstructured(*at, 0.5), fused),
    "parametrised": lambda layer, step: halve(layer, "bias_hh_l1"),
    "twice": first(halve, lambda layer, step: halve(layer, "weight_hh_l0")),
    "weight_norm": first(parametrizations.weight_norm, fused),
    "spectral_norm": first(parametrizations.spectral_norm, sgd),
    "older spectral_norm": first(nn.utils.spectral_norm, sgd),
    "by hand": make_by_hand,
}
UNSEEN = {
    "through data": each(lambda layer, name, p: p.data.mul_(0.5)),
    "through numpy": each(lambda layer, name, p: p.detach().numpy().__imul__(0.5)),
}


def changed_layer(change, dtype=torch.float32, accelerated=False):
    """A stream after a change of the weights, an input, and the output that it should give."""
    layer = nn.GRU(3, 5, num_layers=2) if accelerated else gw.nn.GRU(3, 5, num_layers=2)
    layer = gw.accelerate(layer.to(dtype)) if accelerated else layer.to(dtype)
    x, stream = torch.randn(1, 3, dtype=dtype), layer.stream()
    stream.step(x)
    held = stream.state

    def step():
        stream.state = held
        return stream.step(x).clone()

    before = step()
    change(layer, step)
    stream.state = held

    def wanted():  # asked for last: a call makes pruned weights anew
        found = whole(layer, x[None], held.to(dtype))[0][0]
        assert (before - found).abs().max() > 4e-3, "the change is large enough to be seen"
        return found

    return stream, x, wanted


@pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("kind", ["cpu", "reference", "half", "accelerated"])
@pytest.mark.parametrize("way", CHANGES)
def test_a_step_sees_changed_weights(way, kind):
    if kind == "half" and "spectral_norm" in way:
        pytest.skip("torch's spectral norm is none of half precision")
    dtype = torch.bfloat16 if kind == "half" else torch.float32
    with gw.use_backend(kind if kind == "reference" else "cpu"):
        stream, x, wanted = changed_layer(CHANGES[way], dtype, kind == "accelerated")
        atol = 2e-3 if kind == "half" else 1e-6  # a bfloat16 state is rounded in the call
        torch.testing.assert_close(stream.step(x), wanted(), atol=atol, rtol=1e-5)


@pytest.mark.parametrize("way", UNSEEN)
def test_after_a_refresh_it_has_weights_whose_change_does_not_show(way):
    stream, x, wanted = changed_layer(UNSEEN[way])
    stream.refresh()
    torch.testing.assert_close(stream.step(x), wanted(), atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_after_a_refresh_it_has_weights_that_another_process_wrote():
    def change(layer, step):
        layer.share_memory()
        step()
        worker = multiprocessing.get_context("spawn").Process(target=step_in_place, args=(layer,))
        worker.start()
        worker.join(120)
        assert worker.exitcode == 0

    stream, x, wanted = changed_layer(change)
    stream.refresh()
    torch.testing.assert_close(stream.step(x), wanted(), atol=1e-6, rtol=1e-5)


def test_reading_the_weights_leaves_the_layer_as_it_was():
    layer = gw.nn.GRU(3, 5)
    parametrizations.spectral_norm(layer, "weight_hh_l0")
    before = {n: v.clone() for n, v in layer.state_dict().items()}
    stream = layer.stream()
    for _ in range(2):
        stream.refresh()
    assert all(torch.equal(v, before[n]) for n, v in layer.state_dict().items())
    assert all(module.training for module in layer.modules())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_layer_made_in_inference_mode(backend):
    with gw.use_backend(backend):
        with torch.inference_mode():
            layer = gw.nn.LSTM(3, 5)
            stream = layer.stream()
            x = torch.randn(4, 1, 3)
            first = streamed(stream, x[:2])
        y = torch.cat([first, streamed(stream, x[2:])])  # outside, with the same memory
        with torch.inference_mode():
            torch.testing.assert_close(y, layer(x)[0], atol=1e-6, rtol=1e-5)
            for p in layer.parameters():
                p.mul_(0.5)
            stream.refresh()
            stream.reset()
            torch.testing.assert_close(streamed(stream, x), layer(x)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_another_precision_of_the_layer_is_another_of_the_stream(backend):
    layer = gw.nn.LSTM(3, 5)
    x = torch.randn(4, 1, 3)
    wanted = whole(copy.deepcopy(layer).double(), x.double())[0]
    with gw.use_backend(backend):
        stream = layer.stream()
        streamed(stream, x[:2])
        layer.double()
        with pytest.raises(TypeError, match=r"should be torch\.float64, got torch\.float32"):
            stream.step(x[2])
        y = streamed(stream, x[2:].double())
    torch.testing.assert_close(y, wanted[2:], atol=1e-6, rtol=1e-5)


def test_a_weight_that_is_gone_is_named_at_every_step():
    layer = gw.nn.GRU(3, 5)
    stream = layer.stream()
    del layer.weight_hh_l0
    for _ in range(2):
        with pytest.raises(AttributeError, match="weight_hh_l0"):
            stream.step(torch.zeros(3))


def test_a_learned_initial_state_is_read_at_a_reset():
    layer = gw.nn.GRU(3, 5, learned_state=True)
    stream = layer.stream()
    with torch.no_grad():
        layer.initial_h_l0.fill_(0.5)
    stream.reset()
    assert (stream.state == 0.5).all()


# ---- copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_has_a_state_of_its_own(way, backend):
    with gw.use_backend(backend):
        layer = gw.nn.LSTM(3, 5, num_layers=2)
        x, stream = torch.randn(4, 2, 3), layer.stream(2)
        streamed(stream, x[:2])
        other = way(stream)
        y = streamed(stream, x[2:])
        assert torch.equal(streamed(other, x[2:]), y)
        one_alone(layer, "weight_hh_l0")
        stream.reset()
        other.reset()
        same = torch.equal(streamed(other, x), streamed(stream, x))
    assert same == (way is copy.copy), "only a shallow copy shares the weights"


def test_a_layer_that_keeps_its_own_stream_is_copied():
    layer = gw.nn.GRU(3, 5)
    layer.running = layer.stream()
    y = layer.running.step(torch.ones(3)).clone()
    other = copy.deepcopy(layer)
    assert other.running._layer is other
    assert torch.equal(other.running.state[0, 0], y)


# ---- inputs ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*jit.trace:DeprecationWarning")
def test_a_recorded_graph_has_no_stream_in_it():
    stream = gw.nn.GRU(3, 5).stream()
    with pytest.raises(RuntimeError, match="stream is no part of a graph"):
        make_fx(lambda x: stream.step(x))(torch.zeros(3))
    with pytest.raises(RuntimeError, match="stream is no part of a graph"):
        torch.jit.trace(lambda x: stream.step(x), (torch.zeros(3),), check_trace=False)


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
        (
            lambda: gw.nn.GRU(3, 5).stream().step(torch.zeros(3, device="meta")),
            TypeError,
            "on cpu, got torch.float32 on meta",
        ),
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
