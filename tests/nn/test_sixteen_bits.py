"""float16 and bfloat16 where the backend takes them as they are: `gatework.nn.precision`.

By a stand-in for a backend on a card, on the CPU; elsewhere layers widen: test_half_precision.py.
"""

import copy
from functools import partial

import pytest
import torch

import gatework as gw
from gatework.backends.reference import Reference
from numerics import flat, randomised, worst_difference
from standing_in import standing_in

both_dtypes = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11}


@gw.cell(given={"speaker": "1"})
def informed(x, gap, speaker, /, h, c):
    """Every kind of row: further inputs, noise, two states."""
    kept = gw.sigmoid(gw.linear("f", x, h) + speaker)
    c = gw.zoneout(kept * c + gw.tanh(gw.linear("g", x, gap, h)), c, 0.3)
    return gw.dropout(gw.tanh(c), 0.2, per="sequence"), c


def made(dtype, cell=gw.cells.lstm, **arguments):
    layer = gw.nn.Recurrent(cell, 3, 5, num_layers=2, bidirectional=True, **arguments)
    return randomised(layer).to(dtype)


def assert_close(found, expected, dtype, times=8):
    """Equal up to a few roundings to a dtype, which the found ones have."""
    assert list(found) == list(expected)
    for name, want in expected.items():
        assert found[name].dtype == dtype, name
        worst = worst_difference(found[name].float(), want.float())
        assert worst < times * ROUNDING[dtype], f"{name}: {worst:.1e}"


def gradients(results, sources):
    """The gradients of a weighted sum, which is the same for results of any dtype."""
    g = torch.Generator().manual_seed(1)
    terms = [(r.float() * torch.randn(r.shape, generator=g)).sum() for r in results.values()]
    wanted = {n: s for n, s in sources.items() if s.requires_grad}
    found = torch.autograd.grad(sum(terms), list(wanted.values()))
    return {f"gradient of {n}": f for n, f in zip(wanted, found, strict=True)}


def everything(layer, x, state, **options):
    """Output, final states, and the gradients of everything."""
    sources = {"x": x, **flat(state, "state"), **dict(layer.named_parameters())}
    results = flat(layer(x, state, **options))
    return results, gradients(results, sources)


@both_dtypes
def test_a_layer_of_a_half_hands_on_its_tensors_as_they_are(dtype):
    layer = made(dtype)
    exact = copy.deepcopy(layer).float()
    x = torch.randn(7, 3, 3).to(dtype).requires_grad_()
    state = tuple(s.to(dtype).requires_grad_() for s in torch.randn(2, 4, 3, 5))
    options = {"lengths": [7, 0, 4], "resets": torch.rand(7, 3) < 0.3, "pin": {"f": 0.75}}
    with standing_in() as backend:
        results, found = everything(layer, x, state, **options)
    assert backend.seen == [{dtype}] * 8  # two layers, two directions, there and back
    wide = (s.detach().float().requires_grad_() for s in (x, *state))
    results_wide, expected = everything(exact, next(wide), tuple(wide), **options)
    assert_close(results, results_wide, dtype)
    assert_close(found, expected, dtype, times=16)


@both_dtypes
def test_autocast_casts_everything_and_gradients_keep_their_dtypes(dtype):
    layer = made(torch.float32, informed, learned_state=True).eval()
    x = torch.randn(6, 2, 3, requires_grad=True)
    given = {"gap": torch.rand(6, 2, 1, requires_grad=True), "speaker": torch.rand(2, 1)}
    sources = {"x": x, "gap": given["gap"], **dict(layer.named_parameters())}
    with standing_in() as backend, torch.autocast("cpu", dtype=dtype):
        results = flat(layer(x, **given))
        found = gradients(results, sources)
    assert backend.seen == [{dtype}] * 8
    expected = flat(layer(x, **given))
    assert_close(results, expected, dtype)
    for name, want in gradients(expected, sources).items():
        assert found[name].dtype == torch.float32
        assert worst_difference(found[name], want) < 64 * ROUNDING[dtype], name
    half = {n: v.detach().to(dtype) for n, v in given.items()}
    state = tuple(torch.zeros(2, 4, 2, 5, dtype=dtype))
    with standing_in() as backend, torch.autocast("cpu", dtype=dtype):
        layer(x.detach().to(dtype), state, **half)  # either dtype may come
        layer(x.detach(), tuple(s.float() for s in state), **given)
    assert {dtype} == set().union(*backend.seen)


def test_nothing_is_rounded_between_the_steps():
    @gw.cell(sizes={"h": "input"})
    def total(x, h):
        return h + x

    x = torch.full((4000, 1, 1), 0.001, dtype=torch.bfloat16)
    with standing_in() as backend:
        y, _ = gw.nn.Recurrent(total, 1, 1)(x)
    assert backend.seen == [{torch.bfloat16}]
    assert abs(y[-1].item() - 4) < 0.02


def test_noise_is_as_likely_as_it_should_be():
    """Sixteen bits have too few numbers between 0 and 1 to draw from."""
    with standing_in():
        layer = made(torch.bfloat16, gw.cells.gru, zoneout=0.001)
        x = torch.zeros(2000, 50, 3, dtype=torch.bfloat16)
        seen = []
        run, layer._run = (
            layer._run,
            lambda job, tensors, lengths: seen.append(tensors[-1]) or run(job, tensors, lengths),
        )
        layer(x[:, :, :])
    for kept in seen:
        assert kept.dtype == torch.bfloat16
        assert 0.0005 < kept.float().mean() < 0.0015


@both_dtypes
def test_single_steps_of_a_half_are_handed_on_and_under_autocast_stay_float32(dtype):
    step = randomised(gw.nn.RecurrentCell(gw.cells.peephole_lstm, 3, 5))
    x = torch.randn(2, 3)
    low = copy.deepcopy(step).to(dtype)
    with standing_in() as backend:
        found = low(x.to(dtype), low(x.to(dtype)))
    assert backend.seen == [{dtype}] * 2
    assert_close(flat(found), flat(step(x, step(x))), dtype)
    with standing_in() as backend, torch.autocast("cpu", dtype=dtype):
        found = step(x, step(x))
    assert set().union(*backend.seen) == {torch.float32}
    assert [s.dtype for s in found] == [torch.float32] * 2


def test_streams_are_float32():
    layer = randomised(gw.nn.LSTM(3, 5)).bfloat16().eval()
    with standing_in():
        stream = layer.stream()
        y = stream.step(torch.ones(1, 3, dtype=torch.bfloat16))
    assert (y.dtype, stream.state[0].dtype) == (torch.bfloat16, torch.float32)


def test_packed_sequences_traces_and_carried_states():
    layer, x = made(torch.bfloat16), torch.randn(6, 2, 3).bfloat16()
    pack = partial(torch.nn.utils.rnn.pack_padded_sequence, lengths=[6, 3])
    carry = gw.nn.Carry(layer)
    with standing_in() as backend:
        packed, whole = layer(pack(x)), layer(x, lengths=[6, 3])
        trace = layer.trace(x)
        for piece in x.split(2):
            carry(piece)
    assert set().union(*backend.seen) == {torch.bfloat16}
    assert torch.equal(packed[0].data, pack(whole[0]).data)
    assert {v.dtype for v in trace.values()} == {torch.bfloat16}
    assert [s.dtype for s in carry.state] == [torch.bfloat16] * 2


@pytest.mark.parametrize("autocast", [False, True])
def test_a_compiled_layer_is_the_same(autocast):
    torch._dynamo.reset()
    layer = made(torch.float32 if autocast else torch.bfloat16, gw.cells.gru)
    x = torch.randn(5, 2, 3, dtype=next(layer.parameters()).dtype)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with standing_in() as backend, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, found = layer(x), compiled(x)
        grads = [
            torch.autograd.grad(y.float().sum(), layer.parameters()) for y, _ in (expected, found)
        ]
    assert set().union(*backend.seen) == {torch.bfloat16}
    for f, e in zip(
        (*flat(found).values(), *grads[1]), (*flat(expected).values(), *grads[0]), strict=True
    ):
        assert f.dtype == e.dtype
        torch.testing.assert_close(f, e, rtol=0.02, atol=0.02)


def test_second_derivatives_and_forward_mode():
    layer, x = made(torch.bfloat16, gw.cells.gru), torch.randn(4, 2, 3)

    def value(layer, x):
        (g,) = torch.autograd.grad(layer(x)[0].float().square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(g.float().square().sum(), x)
        tangent = torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))[1]
        return {"first": g.detach(), "second": second, "tangent": tangent.detach()}

    expected = value(copy.deepcopy(layer).float(), x.bfloat16().float().requires_grad_())
    with standing_in():
        found = value(layer, x.bfloat16().requires_grad_())
    assert_close(found, expected, torch.bfloat16, times=24)


def test_what_such_a_backend_refuses_is_float32_inside_all_the_same(monkeypatch):
    @gw.cell(sizes={"h": "input"})
    def total(x, h):
        return h + x

    x = torch.full((4000, 1, 1), 0.001, dtype=torch.bfloat16)
    with standing_in() as backend:
        monkeypatch.setattr(type(backend), "refusal", lambda *_: "it is tired")
        y, _ = gw.nn.Recurrent(total, 1, 1)(x)
        rnn = gw.nn.RNN(1, 1).bfloat16()
        assert rnn(x)[0].dtype == torch.bfloat16
    assert backend.seen == []
    assert abs(y[-1].item() - 4) < 0.02


def test_float64_and_backends_by_hand_are_as_before():
    layer, x = gw.nn.GRU(3, 5), torch.randn(6, 2, 3)
    double, wide = copy.deepcopy(layer).double(), x.double()
    with standing_in() as backend, torch.autocast("cpu", dtype=torch.bfloat16):
        assert double(wide)[0].dtype == torch.float64
        assert backend.seen == [{torch.float64}]
        with gw.use_backend("reference"), pytest.MonkeyPatch.context() as patch:
            run, dtypes = Reference.run, []
            patch.setattr(
                Reference,
                "run",
                lambda self, p, c: dtypes.append(c.like.dtype) or run(self, p, c),
            )
            assert layer(x)[0].dtype == torch.bfloat16
    assert dtypes == [torch.float32]
