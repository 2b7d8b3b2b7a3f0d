"""Resets inside a sequence in every form of call; the battery has them for every cell."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatework as gw
from episodes import gradients_of, run_alone, untupled
from numerics import assert_same, flat, randomised

BEGINS = torch.tensor([[1, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]]).bool()  # [T, B]
BACKENDS = pytest.mark.parametrize("backend", ["cpu", "reference"])


def layer_of(name="gru", dtype=torch.float64, **arguments):
    cell = gw.cells.catalogue()[name]
    return randomised(gw.nn.Recurrent(cell, 3, 4, dtype=dtype, **arguments)).eval()


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def state_of(layer, batch=3):
    zeros = layer.initial_state(batch)
    return untupled(tuple(torch.randn_like(s) for s in flat(zeros).values()))


@BACKENDS
@pytest.mark.parametrize("begins", [*itertools.product([False, True], repeat=3)])
def test_every_pattern_of_a_short_sequence(backend, begins):
    layer = layer_of("lstm", bidirectional=True, learned_state=True)
    x, resets = normal(3, 1, 3).requires_grad_(), torch.tensor(begins)[:, None]
    sources = {"input": x, **dict(layer.named_parameters())}
    expected = run_alone(layer, x, None, resets)
    with gw.use_backend(backend):
        found = layer(x, resets=resets)
        of_found = gradients_of(found, sources)
    assert_same(flat(found), flat(expected), 1e-12)
    assert_same(of_found, gradients_of(expected, sources), 1e-11)


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 3), (4, 0), (3, 17)])
@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_other_shapes(name, steps, batch):
    layer = layer_of(name, bidirectional=True)
    x, resets = normal(steps, batch, 3), torch.rand(steps, batch) < 0.4
    hx = state_of(layer, batch) if batch else None
    if batch:
        assert_same(flat(layer(x, hx, resets=resets)), flat(run_alone(layer, x, hx, resets)), 1e-12)
    else:
        assert_same(flat(layer(x, hx, resets=resets)), flat(layer(x, hx)), 0)


def test_no_gradient_passes_a_reset():
    layer = layer_of("lstm", num_layers=2)
    x = normal(5, 3, 3).requires_grad_()
    y, _ = layer(x, resets=BEGINS)
    (gradient,) = torch.autograd.grad(y[-1].sum(), x)
    since = [3, 3, 4]  # the last episode of each sequence
    for b, first in enumerate(since):
        assert (gradient[:first, b] == 0).all()
        assert (gradient[first:, b] != 0).all()


def test_what_is_not_finite_ends_with_its_episode():
    layer = layer_of("lstm").requires_grad_(False)
    x = normal(5, 3, 3)
    x[0, 0] = torch.nan
    y, state = layer(x.requires_grad_(), resets=BEGINS)
    assert y[:2, 0].isnan().all()
    assert y[2:].isfinite().all()
    assert all(s.isfinite().all() for s in state)
    (gradient,) = torch.autograd.grad(y[2:].sum(), x)
    assert gradient[2:].isfinite().all()


def test_resets_in_the_padding_change_nothing():
    layer = layer_of(bidirectional=True)
    x, lengths = normal(5, 3, 3), [3, 0, 5]
    padding = torch.arange(5)[:, None] >= torch.tensor(lengths)
    found = layer(x, lengths=lengths, resets=BEGINS | padding)
    expected = layer(x, lengths=lengths, resets=BEGINS & ~padding)
    assert_same(flat(found), flat(expected), 0)


@pytest.mark.parametrize("learned", [False, True])
def test_a_state_that_was_carried_over_is_reset_to_the_layers_own(learned):
    layer = layer_of("lstm", num_layers=2, learned_state=learned)
    x, carried = normal(5, 3, 3), state_of(layer)
    found = layer(x, carried, resets=BEGINS)
    assert_same(flat(found), flat(run_alone(layer, x, carried, BEGINS)), 1e-12)
    fresh = layer(x[:, :1], resets=BEGINS[:, :1])  # this sequence begins with a reset
    assert_same({"y": found[0][:, :1]}, {"y": fresh[0]}, 1e-12)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_it_does_not_matter_where_a_sequence_is_cut(cut):
    """What an agent does a step at a time is what it later learns from in one call."""
    layer = layer_of("lstm", num_layers=2, learned_state=True)
    x, hx = normal(5, 3, 3), state_of(layer_of("lstm", num_layers=2))
    expected, outputs, state = layer(x, hx, resets=BEGINS), [], hx
    for part, begins in zip(x.split(cut), BEGINS.split(cut), strict=True):
        y, state = layer(part, state, resets=begins)
        outputs.append(y)
    assert_same(flat((torch.cat(outputs), state)), flat(expected), 1e-12)


def test_it_is_what_agents_write_as_a_loop():
    """Huang et al. 2022, CleanRL, ppo_atari_lstm.py: done masks the state before each step."""
    theirs, ours = torch.nn.LSTM(3, 4), gw.nn.LSTM(3, 4)
    ours.load_state_dict(theirs.state_dict())
    x, done, state = torch.randn(5, 3, 3), BEGINS.float(), (torch.randn(1, 3, 4),) * 2
    expected, kept = [], state
    for x_t, d in zip(x, done, strict=True):
        kept = tuple((1.0 - d).view(1, -1, 1) * s for s in kept)
        y_t, kept = theirs(x_t.unsqueeze(0), kept)
        expected.append(y_t)
    found = ours(x, state, resets=done.bool())
    assert_same(flat(found), flat((torch.cat(expected), kept)), 1e-6)


def test_a_given_value_to_return_to():
    layer = layer_of("lstm", num_layers=2, bidirectional=True, learned_state=True)
    x, hx, other = normal(5, 3, 3), state_of(layer), state_of(layer)
    for start, reset_to in ((hx, other), (hx, hx), (None, other)):
        found = layer(x, start, resets=BEGINS, reset_to=reset_to)
        expected = run_alone(layer, x, start, BEGINS, reset_to=reset_to)
        assert_same(flat(found), flat(expected), 1e-12)


# ---- forms of the input ------------------------------------------------------------------------


def test_batch_first_alone_and_lists():
    layer, x = layer_of("lstm"), normal(5, 3, 3)
    y, state = layer(x, resets=BEGINS)
    first = layer_of("lstm", batch_first=True)
    by_batch = first(x.transpose(0, 1), resets=BEGINS.T)
    assert_same(flat((by_batch[0].transpose(0, 1), by_batch[1])), flat((y, state)), 0)
    for form in (BEGINS[:, 1], BEGINS[:, 1].tolist(), BEGINS[:, 1].numpy()):
        alone = layer(x[:, 1], resets=form)
        expected = y[:, 1], tuple(s[:, 1] for s in state)
        assert_same(flat(alone), flat(expected), 1e-12)
    strided = BEGINS.T.contiguous().T
    assert_same(flat(layer(x, resets=strided)), flat((y, state)), 0)


@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_sequences_take_resets_in_the_order_of_the_batch(batch_first):
    layer, lengths = layer_of("lstm", bidirectional=True, batch_first=batch_first), [2, 5, 4]
    x = normal(5, 3, 3)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    resets = BEGINS.T if batch_first else BEGINS
    hx = state_of(layer)
    y, state = layer(packed, hx, resets=resets)
    given = x.transpose(0, 1) if batch_first else x
    expected = layer(given, hx, lengths=lengths, resets=resets)
    found = pad_packed_sequence(y, batch_first=batch_first)[0]
    assert_same(flat((found, state)), flat(expected), 1e-12)


# ---- with the other powers ---------------------------------------------------------------------


def test_traced_and_pinned_calls_are_reset_as_well():
    layer = layer_of("lstm", num_layers=2, bidirectional=True)
    x, pin = normal(5, 1, 3), {"f": 0.9, "i.pre": torch.full((4,), 0.1).double()}
    resets = torch.tensor([0, 0, 0, 1, 0]).bool()[:, None]
    trace = layer.trace(x, resets=resets, pin=pin)
    assert_same(flat((trace.output, trace.state)), flat(layer(x, resets=resets, pin=pin)), 1e-12)
    parts = [layer.trace(part, pin=pin) for part in (x[:3], x[3:])]
    for depth in (0, 1):
        for way in (lambda t: t, lambda t: t.reverse):
            found = dict(way(trace.layer(depth)))
            alone = [way(part.layer(depth)) for part in parts]
            assert_same(found, {n: torch.cat([a[n] for a in alone]) for n in found}, 1e-12)


def test_the_traced_state_is_the_one_before_the_reset():
    layer, x = layer_of("lstm"), normal(5, 3, 3)
    trace = layer.trace(x, resets=BEGINS)
    assert torch.equal(trace["h"], trace.output)


def test_second_derivatives():
    layer = layer_of("gru", learned_state=True)
    x = normal(3, 2, 3).requires_grad_()
    names, tensors = zip(*layer.named_parameters(), strict=True)

    def results(x, *tensors):
        given = dict(zip(names, tensors, strict=True))
        call = (x,), {"resets": BEGINS[1:4, 1:]}
        return torch.func.functional_call(layer, given, *call)

    assert torch.autograd.gradcheck(results, (x, *tensors))
    assert torch.autograd.gradgradcheck(results, (x, *tensors))


def test_noise_is_drawn_with_resets():
    layer = layer_of("gru", num_layers=2, dropout=0.5).train()
    torch.manual_seed(1)
    first = layer(normal(5, 3, 3).fill_(1.0), resets=BEGINS)
    torch.manual_seed(1)
    assert_same(flat(layer(normal(5, 3, 3).fill_(1.0), resets=BEGINS)), flat(first), 0)


def test_float32_on_both_backends():
    layer = layer_of("lstm", dtype=torch.float32)
    x = torch.randn(5, 3, 3)
    with gw.use_backend("reference"):
        expected = flat(layer(x, resets=BEGINS))
    assert_same(flat(layer(x, resets=BEGINS)), expected, 1e-5)


@pytest.mark.parametrize("learned", [False, True])
def test_compiled_and_exported_layers_take_resets(learned):
    torch._dynamo.reset()
    layer = layer_of("lstm", bidirectional=True, learned_state=learned, dtype=torch.float32)
    x = torch.randn(5, 3, 3, requires_grad=True)
    sources = {"input": x, **dict(layer.named_parameters())}
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x, resets=BEGINS), layer(x, resets=BEGINS)
    assert_same(flat(found), flat(expected), 0)
    assert_same(gradients_of(found, sources), gradients_of(expected, sources), 1e-6)
    steps, batch = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    exported = torch.export.export(
        layer, (x.detach(),), {"resets": BEGINS},
        dynamic_shapes={"input": {0: steps, 1: batch}, "resets": {0: steps, 1: batch}},
    ).module()  # fmt: skip
    other, flags = torch.randn(7, 2, 3), torch.rand(7, 2) < 0.5
    assert_same(flat(exported(other, resets=flags)), flat(layer(other, resets=flags)), 0)


@pytest.mark.parametrize(
    "option",
    [
        {"zoneout": 0.1},
        {"layer_norm": True},
        {"recurrent_dropout": 0.3},
        {"weight_drop": 0.3},
        {"input_dropout": 0.2},
        {"single_bias": True},
    ],
)
def test_a_rewritten_cell_is_reset_as_well(option):
    layer = gw.nn.LSTM(3, 4, 2, bidirectional=True, learned_state=True, **option)
    layer.double().eval()
    torch.nn.init.normal_(layer.initial_c_l0)
    x, resets = normal(5, 3, 3), torch.zeros(5, 3, dtype=torch.bool)
    resets[2] = True
    expected = torch.cat([layer(x[:2])[0], layer(x[2:])[0]])
    torch.testing.assert_close(layer(x, resets=resets)[0], expected)
    layer.train()(x, resets=resets)[0].sum().backward()
    assert all((p.grad != 0).any() for p in layer.parameters())


# ---- torch.func and other precisions -----------------------------------------------------------


def test_batches_of_calls_by_vmap():
    layer = layer_of("lstm", num_layers=2, bidirectional=True, learned_state=True)
    x, resets = normal(4, 5, 3, 3), torch.rand(4, 5, 3) < 0.4
    found = torch.func.vmap(lambda x, r: layer(x, resets=r))(x, resets)
    each = [flat(layer(x[k], resets=resets[k])) for k in range(4)]
    assert_same(flat(found), {n: torch.stack([e[n] for e in each]) for n in each[0]}, 1e-12)
    found = torch.func.vmap(lambda x: layer(x, resets=BEGINS)[0])(x)
    torch.testing.assert_close(found, torch.stack([layer(part, resets=BEGINS)[0] for part in x]))


def test_gradients_of_each_sequence_by_vmap():
    layer = layer_of("gru", learned_state=True)
    x, parameters = normal(5, 3, 3), dict(layer.named_parameters())

    def loss(parameters, x, resets):
        call = (x,), {"resets": resets}
        return torch.func.functional_call(layer, parameters, *call)[0].square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 1, 1))(parameters, x, BEGINS)
    for b in range(3):
        one = torch.autograd.grad(loss(parameters, x[:, b], BEGINS[:, b]), [*parameters.values()])
        expected = dict(zip(parameters, one, strict=True))
        assert_same({n: g[b] for n, g in found.items()}, expected, 1e-10)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_derivatives_in_a_direction():
    layer = layer_of("lstm", learned_state=True)
    x, direction, step = normal(5, 3, 3), normal(5, 3, 3), 1e-6

    def output(x):
        return layer(x, resets=BEGINS)[0]

    found = torch.func.jvp(output, (x,), (direction,))[1]
    ahead, behind = output(x + step * direction), output(x - step * direction)
    torch.testing.assert_close(found, (ahead - behind) / (2 * step), atol=1e-6, rtol=0)


def test_half_precision_and_autocast():
    layer = layer_of("lstm", dtype=torch.float32, learned_state=True)
    x = torch.randn(5, 3, 3)
    expected = layer(x, resets=BEGINS)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x, resets=BEGINS)
        again, _ = layer(x, state, resets=BEGINS, reset_to=layer.initial_state(3))
    torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0)
    y.sum().backward()
    assert layer.initial_c_l0.grad.dtype == torch.float32
    y, state = layer.bfloat16()(x.bfloat16(), resets=BEGINS)
    torch.testing.assert_close(y.float(), expected, atol=0.1, rtol=0)
    assert torch.equal(layer(x.bfloat16(), state, resets=BEGINS)[0][3:, 0], y[3:, 0])
    assert again.shape == y.shape


def test_an_accelerated_layer_takes_resets():
    theirs = torch.nn.LSTM(3, 4)
    x, hx = torch.randn(5, 3, 3), (torch.randn(1, 3, 4), torch.randn(1, 3, 4))
    ours = gw.nn.LSTM(3, 4)
    ours.load_state_dict(theirs.state_dict())
    found = gw.accelerate(theirs)(x, hx, resets=BEGINS)
    assert_same(flat(found), flat(ours(x, hx, resets=BEGINS)), 1e-6)


@pytest.mark.parametrize("given", [False, True])
def test_layers_without_memory_give_the_right_shapes(given):
    layer = layer_of("lstm", num_layers=2, bidirectional=True).to("meta")
    x, reset_to = torch.empty(5, 3, 3, dtype=torch.float64, device="meta"), layer.initial_state(3)
    y, state = layer(x, resets=BEGINS.to("meta"), reset_to=reset_to if given else None)
    assert y.shape == (5, 3, 8)
    assert [s.shape for s in state] == [(4, 3, 4)] * 2


# ---- wrong calls -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resets": BEGINS.float()}, TypeError, r"should be booleans, got torch.float32; write"),
        ({"resets": BEGINS.T}, ValueError, r"\[5, 3\] in the layout of the input; got the shape"),
        ({"resets": BEGINS[..., None]}, ValueError, r"write resets.squeeze\(-1\)"),
        ({"resets": BEGINS[:-1]}, ValueError, "got the shape"),
        ({"resets": "x"}, TypeError, "resets should be booleans"),
        ({"reset_to": torch.zeros(1, 3, 4)}, ValueError, "give resets"),
        ({"resets": BEGINS, "reset_to": 0}, TypeError, "one tensor"),
        ({"resets": BEGINS, "reset_to": torch.zeros(1, 2, 4)}, RuntimeError, "Expected hidden"),
        ({"resets": BEGINS, "reset_to": "x"}, TypeError, "one tensor"),
    ],
)  # fmt: skip
def test_wrong_resets_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        layer_of(dtype=torch.float32)(torch.randn(5, 3, 3), **arguments)


# ---- learned initial states --------------------------------------------------------------------


def test_a_learned_state_starts_at_zero_and_is_in_the_state_dict_only_when_asked_for():
    plain = gw.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    learned = gw.nn.LSTM(3, 4, num_layers=2, bidirectional=True, learned_state=True)
    names = [f"initial_{s}_l{k}{d}" for k in (0, 1) for d in ("", "_reverse") for s in ("h", "c")]
    assert list(learned.state_dict()) == [*plain.state_dict(), *names]
    assert "learned_state=True" in repr(learned)
    assert "learned_state" not in repr(plain)
    learned.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(4, 2, 3)
    assert_same(flat(learned(x)), flat(plain(x)), 0)


def test_a_learned_state_is_what_a_call_without_one_begins_with():
    layer = layer_of(
        "projected_lstm", num_layers=2, bidirectional=True, learned_state=True, proj_size=2
    )
    x = normal(4, 3, 3)
    assert_same(flat(layer(x)), flat(layer(x, layer.initial_state(3))), 0)
    alone = layer(x[:, 0]), layer(x[:, 0], layer.initial_state())
    assert_same(flat(alone[0]), flat(alone[1]), 0)
    zeros = tuple(torch.zeros_like(s) for s in layer.initial_state(3))
    assert not torch.equal(layer(x)[0], layer(x, zeros)[0])
    empty = layer(x, lengths=[0, 0, 0])[1]
    assert_same(flat(empty), flat(layer.initial_state(3)), 0)


def test_a_learned_state_learns():
    layer = gw.nn.GRU(3, 4, learned_state=True)
    optimizer = torch.optim.SGD(layer.parameters(), 0.5)
    x, losses = torch.randn(1, 8, 3), []
    for _ in range(20):
        loss = (layer(x)[0] - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert (layer.initial_h_l0 != 0).all()
    assert losses[-1] < 0.3 * losses[0]


def test_wrong_learned_states_are_refused():
    with pytest.raises(TypeError, match="learned_state should be of type bool, got: int"):
        gw.nn.GRU(3, 4, learned_state=1)

    @gw.cell
    def taken(x, h):
        return gw.tanh(gw.linear("n", x, h) + gw.vector("initial_h"))

    with pytest.raises(ValueError, match="has a parameter 'initial_h_l0' of its own"):
        gw.nn.Recurrent(taken, 3, 4, learned_state=True)
    with pytest.raises(ValueError, match="batch_size must be greater than zero"):
        gw.nn.GRU(3, 4).initial_state(0)


# ---- streams -----------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("learned", [False, True])
def test_a_stream_with_resets_is_the_whole_sequence(backend, learned):
    layer = layer_of("lstm", num_layers=2, learned_state=learned)
    x = normal(5, 3, 3)
    with gw.use_backend(backend):
        expected, state = layer(x, resets=BEGINS)
        stream, rows = layer.stream(3), []
        for x_t, begins in zip(x, BEGINS, strict=True):
            stream.reset(begins)
            rows.append(stream.step(x_t).clone())
    found = torch.stack(rows), stream.state
    assert_same(flat(found), flat((expected, state)), 1e-11)
    assert not any(s.requires_grad for s in stream.state)


def test_a_stream_resets_chosen_sequences():
    layer = layer_of("gru", learned_state=True)
    stream = layer.stream(3)
    for which in ([True, False, True], [0, 2], np.array([0, -1]), torch.tensor([2, 0])):
        stream.step(normal(3, 3))
        before = stream.state
        stream.reset(which)
        assert torch.equal(stream.state[:, [0, 2]], layer.initial_state(3)[:, [0, 2]])
        assert torch.equal(stream.state[:, 1], before[:, 1])
    before = stream.state
    stream.reset([])
    assert torch.equal(stream.state, before)
    stream.reset()
    assert torch.equal(stream.state, layer.initial_state(3))


@pytest.mark.parametrize(
    ("which", "error"),
    [([True, False], ValueError), ([3], ValueError), ([0.5], TypeError), ("x", TypeError)],
)
def test_a_stream_refuses_what_is_no_sequence_of_it(which, error):
    with pytest.raises(error, match=r"sequence|booleans|invalid data type"):
        layer_of().stream(3).reset(which)
