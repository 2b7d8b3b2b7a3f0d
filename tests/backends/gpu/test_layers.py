"""Whole layers on the GPU backend: each of their powers, with a machine on the CPU.

Most with a machine that interprets loops, a few with one that runs the very text of the kernels.
"""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatework as gw
from backends.gpu.emulator.emulated import Emulated
from gatework.backends.gpu.backend import Gpu
from interpreted_loops import Interpreted, interpreted
from numerics import flat, randomised
from running_on import running_on


def on_gpu():
    """Inside, layers run on the backend, whose loops are interpreted."""
    return running_on(Gpu(Interpreted(), [interpreted]))


def launches(backend):
    return backend._machine.launches


def everything(layer, x, state=None, seed=0, **options):
    """Outputs, final states, and the gradient of each input and parameter."""
    x = x.detach().clone().requires_grad_()
    torch.manual_seed(seed)
    results = flat(layer(x, state, **options))
    weights = (torch.linspace(-1, 1, r.numel()).view(r.shape) for r in results.values())
    total = sum((r * w).sum() for r, w in zip(results.values(), weights, strict=True))
    sources = {"x": x, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(total, list(sources.values()), allow_unused=True)
    return results | {f"gradient of {n}": g for n, g in zip(sources, gradients, strict=True)}


def assert_same(found, expected, tolerance=1e-5):
    assert list(found) == list(expected)
    for name, want in expected.items():
        if want is None:
            assert found[name] is None, name
            continue
        scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
        torch.testing.assert_close(
            found[name], want, rtol=0, atol=tolerance * scale, msg=f"{name}: {{}}".format
        )


def assert_runs_there(layer, x, calls, **options):
    """The layer gives the same on the backend as elsewhere, in so many launches."""
    expected = everything(layer, x, **options)
    with on_gpu() as backend:
        found = everything(layer, x, **options)
        assert launches(backend) == calls
    assert_same(found, expected)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("deep", [{}, {"num_layers": 2, "bidirectional": True}])
def test_torchs_layers(kind, deep):
    """Against torch's own, from its weights."""
    theirs = getattr(torch.nn, kind)(3, 5, **deep)
    ours = getattr(gw.nn, kind)(3, 5, **deep)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(6, 4, 3)
    with on_gpu() as backend:
        found = everything(ours, x)
        assert launches(backend) == (8 if deep else 2)
    assert_same(found, everything(theirs, x))


def test_packed_sequences():
    theirs, ours = (n.LSTM(3, 5, bidirectional=True) for n in (torch.nn, gw.nn))
    ours.load_state_dict(theirs.state_dict())
    packed = pack_padded_sequence(torch.randn(6, 4, 3), [2, 6, 1, 4], enforce_sorted=False)
    expected, state = theirs(packed)
    with on_gpu():
        found, own = ours(packed)
    for have, want in zip(pad_packed_sequence(found), pad_packed_sequence(expected), strict=True):
        torch.testing.assert_close(have, want)
    torch.testing.assert_close(own, state)


@pytest.mark.parametrize("deep", [{}, {"num_layers": 2, "bidirectional": True}])
def test_lengths_in_any_order(deep):
    layer = randomised(gw.nn.GRU(3, 5, **deep))
    calls = 8 if deep else 2
    assert_runs_there(layer, torch.randn(6, 4, 3), calls, lengths=[3, 0, 6, 1])


@pytest.mark.parametrize(
    "options",
    [
        {"zoneout": 0.3}, {"recurrent_dropout": 0.3}, {"dropout": 0.3, "num_layers": 2},
        {"weight_drop": 0.3},
    ],
    ids=str,
)  # fmt: skip
def test_dropout_of_every_kind(options):
    layer = randomised(gw.nn.LSTM(3, 5, **options))
    assert_runs_there(layer, torch.randn(6, 4, 3), 2 * layer.num_layers)


def test_resets_and_states_that_are_given():
    layer, resets = randomised(gw.nn.LSTM(3, 5)), torch.rand(6, 4) < 0.3
    state = torch.randn(2, 1, 4, 5).unbind(0)
    assert_runs_there(layer, torch.randn(6, 4, 3), 2, state=state, resets=resets)


def test_learned_states():
    layer = randomised(gw.nn.GRU(3, 5, learned_state=True))
    assert_runs_there(layer, torch.randn(6, 4, 3), 2)


def test_pins():
    layer = randomised(gw.nn.LSTM(3, 5))
    assert_runs_there(layer, torch.randn(6, 4, 3), 2, pin={"f": 1.0, "i": 0.25})


def test_traces():
    layer, x = randomised(gw.nn.LSTM(3, 5)), torch.randn(6, 4, 3)
    expected = layer.trace(x)
    with on_gpu() as backend:
        found = layer.trace(x)
        assert launches(backend)
    for name in ("f", "i", "c"):
        torch.testing.assert_close(found[name], expected[name])


def test_several_inputs():
    layer = randomised(gw.nn.Recurrent(gw.cells.gru_d, 3, 5))
    x, further = torch.randn(6, 4, 3), {"mask": torch.ones(6, 4, 3), "gap": torch.rand(6, 4, 1)}
    assert_runs_there(layer, x, 2, **further)


@pytest.mark.parametrize("shape", [(6, 0, 3), (1, 1, 3)])
def test_small_calls(shape):
    layer = randomised(gw.nn.LSTM(3, 5))
    assert_runs_there(layer, torch.randn(shape), 2 * (0 not in shape))


def test_gradients_of_gradients():
    layer, x = randomised(gw.nn.Recurrent(gw.cells.peephole_lstm, 3, 5)), torch.randn(3, 2, 3)

    def penalty(x):
        (g,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), [x, *layer.parameters()])

    expected = penalty(x.requires_grad_())
    with on_gpu():
        found = penalty(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_functional_transforms():
    layer, x = randomised(gw.nn.GRU(3, 5)), torch.randn(6, 4, 3)
    weights = dict(layer.named_parameters())

    def loss(weights, x):
        return torch.func.functional_call(layer, weights, (x[:, None],))[0].square().sum()

    def gradients():
        return torch.func.vmap(torch.func.grad(loss), (None, 1))(weights, x)

    expected = gradients()
    with on_gpu() as backend:
        found = gradients()
        assert launches(backend)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_compiled_layers():
    layer, x = randomised(gw.nn.LSTM(3, 5)), torch.randn(6, 4, 3)
    expected = everything(layer, x)
    with on_gpu() as backend:
        found = everything(torch.compile(layer, fullgraph=True, backend="aot_eager"), x)
        assert launches(backend)
    assert_same({n.replace("_orig_mod.", ""): v for n, v in found.items()}, expected)


def test_streams():
    layer, x = randomised(gw.nn.LSTM(3, 5)), torch.randn(6, 4, 3)
    expected, _ = layer(x)
    with on_gpu() as backend:
        stream = layer.stream(batch_size=4)
        found = torch.stack([stream.step(row).clone() for row in x])
        assert launches(backend) >= 6
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(dtype):
    layer, x = randomised(gw.nn.LSTM(3, 5, num_layers=2)), torch.randn(6, 4, 3)
    expected = everything(layer, x)
    with on_gpu():
        found = everything(layer.to(dtype), x.to(dtype))
    assert {v.dtype for v in found.values()} == {dtype}
    assert_same({n: v.float() for n, v in found.items()}, expected, 5e-2)


# ---- the very text of the kernels --------------------------------------------------------------


@pytest.mark.parametrize("deep", [{}, {"num_layers": 2, "bidirectional": True}])
def test_torchs_lstm_in_the_emulator(deep):
    theirs, ours = (n.LSTM(3, 5, **deep) for n in (torch.nn, gw.nn))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 3)
    with running_on(Gpu(Emulated(seed=1))):
        found = everything(ours, x)
    assert_same(found, everything(theirs, x))


def test_lengths_and_resets_in_the_emulator():
    layer, x = randomised(gw.nn.GRU(3, 5)), torch.randn(4, 3, 3)
    options = {"lengths": [2, 0, 4], "resets": torch.rand(4, 3) < 0.3}
    expected = everything(layer, x, **options)
    with running_on(Gpu(Emulated(seed=2))):
        found = everything(layer, x, **options)
    assert_same(found, expected)


def test_explain_says_which_form_runs():
    with running_on(Gpu(Emulated())):
        lines = gw.explain(gw.nn.Recurrent(gw.cells.mlstm, 3, 8)).backend
    for line, which in zip(
        lines, ("gpu: runs it", "training, forward: gpu", "training, backward: gpu"), strict=True
    ):
        form = f"{which}, form block: a block of "
        assert line.startswith(form)
        assert "; no scan: " in line
        assert "; no group: its rows have several axes" in line
