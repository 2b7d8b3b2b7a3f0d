"""torch.func on layers: nested, with noise, lengths and states; what cannot be is said."""

import copy

import pytest
import torch
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vjp,
    vmap,
)  # fmt: skip

import gatework as gw
from numerics import assert_same, flat, randomised

pytestmark = pytest.mark.usefixtures("float64")


def lstm(**arguments):
    return randomised(gw.nn.LSTM(3, 4, num_layers=2, bidirectional=True, **arguments))


def test_vmap_over_everything_that_a_call_takes():
    layer = lstm()
    x, h, c = torch.randn(5, 4, 2, 3), torch.randn(5, 4, 2, 4), torch.randn(4, 2, 4)
    lengths, resets = torch.randint(0, 5, (5, 2)), torch.rand(5, 4, 2) < 0.3

    def call(x, h, c, lengths, resets):
        return layer(x, (h, c), lengths=lengths, resets=resets)

    given = x, h, c, lengths, resets
    for dims in ((0, 0, None, 0, 0), (0, None, None, None, None), (None, 0, None, None, 0)):

        def member(k, dims=dims):
            """What member k is called with; c is the same for all."""
            pairs = zip(given, dims, strict=True)
            return [g if g is c else g[k] if d == 0 else g[0] for g, d in pairs]

        batched = (g if d == 0 else a for g, d, a in zip(given, dims, member(0), strict=True))
        found = flat(vmap(call, dims)(*batched))
        for k in range(5):
            assert_same({n: v[k] for n, v in found.items()}, flat(call(*member(k))), 1e-12)


def test_vmap_in_vmap_and_other_dimensions():
    layer = lstm(batch_first=True)
    x = torch.randn(2, 6, 4, 3, 5)  # [N, B, T, I, M]
    found = vmap(vmap(lambda x: layer(x)[0], in_dims=-1, out_dims=-1))(x)
    for n in range(2):
        for m in range(5):
            torch.testing.assert_close(found[n, ..., m], layer(x[n, ..., m])[0])


def test_gradients_of_each_sample_under_a_second_vmap_over_an_ensemble():
    layers = [randomised(gw.nn.GRU(3, 4), seed) for seed in range(2)]
    parameters, buffers = stack_module_state(layers)
    base = copy.deepcopy(layers[0]).to("meta")
    x = torch.randn(5, 3, 3)

    def loss(parameters, buffers, x):
        return functional_call(base, (parameters, buffers), (x,))[0].square().sum()

    each = vmap(grad(loss), (None, None, 1))
    found = vmap(each, (0, 0, None))(parameters, buffers, x)
    for k, layer in enumerate(layers):
        for b in range(3):
            value = layer(x[:, b])[0].square().sum()
            alone = torch.autograd.grad(value, list(layer.parameters()))
            expected = dict(zip(found, alone, strict=True))
            assert_same({n: g[k, b] for n, g in found.items()}, expected, 1e-9)


def test_gradients_of_each_sequence_do_not_see_the_padding():
    layer, lengths = randomised(gw.nn.LSTM(3, 4)), torch.tensor([4, 2, 0])
    clean = torch.randn(4, 3, 3)
    dirty = clean.clone()
    for b, length in enumerate(lengths):
        dirty[length:, b] = torch.nan

    def loss(parameters, x, length):
        return functional_call(layer, parameters, (x[:, None],), {"lengths": length[None]})[0].sum()

    each = vmap(grad(loss), (None, 1, 0))
    parameters = dict(layer.named_parameters())
    assert_same(each(parameters, dirty, lengths), each(parameters, clean, lengths), 0)


def test_a_penalty_on_gradients_of_each_sample_is_differentiable():
    layer = gw.nn.GRU(2, 3)
    parameters = {n: p.detach() for n, p in layer.named_parameters()}
    x = torch.randn(4, 3, 2)

    def loss(parameters, x):
        return functional_call(layer, parameters, (x,), {"lengths": None})[0].square().sum()

    def penalty(parameters):
        found = vmap(grad(loss), (None, 1))(parameters, x)
        return sum(g.square().sum() for g in found.values())

    def by_loops(parameters):
        found = [grad(loss)(parameters, x[:, b]) for b in range(3)]
        return sum(g.square().sum() for one in found for g in one.values())

    assert_same(grad(penalty)(parameters), grad(by_loops)(parameters), 1e-9)
    name, step = "weight_hh_l0", torch.zeros(9, 3)
    step[2, 1] = 1e-6
    ends = [penalty({**parameters, name: parameters[name] + s}) for s in (step, -step)]
    torch.testing.assert_close(
        grad(penalty)(parameters)[name][2, 1], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-6
    )


def test_second_and_third_derivatives_agree_with_finite_differences():
    layer = gw.nn.LSTM(2, 3)
    x, v = torch.randn(3, 1, 2), torch.randn(3, 1, 2)

    def value(x):
        y, (_, c) = layer(x, lengths=torch.tensor([2]))
        return y.sin().sum() + c.square().sum()

    second = hessian(value)(x).reshape(6, 6)
    first = [grad(value)(x + e * v).flatten() for e in (1e-5, -1e-5)]
    torch.testing.assert_close(second @ v.flatten(), (first[0] - first[1]) / 2e-5)

    def along(x):
        return jvp(grad(value), (x,), (v,))[1]

    third = jacrev(lambda x: (along(x) * v).sum())(x)
    ends = [(along(x + e * v) * v).sum() for e in (1e-5, -1e-5)]
    torch.testing.assert_close((third * v).sum(), (ends[0] - ends[1]) / 2e-5)
    again = jacrev(
        lambda x: (jacrev(jacrev(value))(x).reshape(6, 6) @ v.flatten() * v.flatten()).sum()
    )
    torch.testing.assert_close(again(x), third)


def test_jacobians_by_both_modes_and_by_plain_autograd():
    layer = lstm()
    x = torch.randn(3, 2, 3)

    def call(x):
        return layer(x, lengths=torch.tensor([3, 1]))[0]

    expected = torch.autograd.functional.jacobian(call, x)
    torch.testing.assert_close(jacrev(call)(x), expected)
    torch.testing.assert_close(jacfwd(call)(x), expected)
    with pytest.raises(RuntimeError, match=r"is_grads_batched=True .* use torch.func.jacrev"):
        torch.autograd.functional.jacobian(call, x, vectorize=True)


def test_forward_mode_with_dual_numbers():
    layer = gw.nn.GRU(3, 4)
    x, v = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    with torch.autograd.forward_ad.dual_level():
        y, _ = layer(torch.autograd.forward_ad.make_dual(x, v))
        tangent = torch.autograd.forward_ad.unpack_dual(y).tangent
    expected = jvp(lambda x: layer(x)[0], (x,), (v,))[1]
    torch.testing.assert_close(tangent, expected)
    with gw.use_backend("cpu"), pytest.raises(RuntimeError, match="gru in forward mode"):
        jvp(lambda x: layer(x)[0], (x,), (v,))


def test_gradients_through_traces_pins_and_single_steps():
    layer, step = lstm().eval(), randomised(gw.nn.GRUCell(3, 4))
    x, gate = torch.randn(4, 2, 3), torch.rand(4)

    def value(x, gate):
        trace = layer.trace(x, pin={"f": gate})
        return trace["i"].sum() + trace.layer(0)["c"].square().sum() + step(x[0]).sum()

    found = grad(value, (0, 1))(x, gate)
    leaves = x.clone().requires_grad_(), gate.clone().requires_grad_()
    assert_same(flat(found), flat(torch.autograd.grad(value(*leaves), leaves)), 1e-12)
    torch.testing.assert_close(
        vjp(lambda x: step(x[0]), x)[1](torch.ones(2, 4))[0][1:].sum(), torch.tensor(0.0)
    )


def test_noise_under_vmap_follows_torchs_randomness():
    @gw.cell
    def dropped(x, h):
        return gw.dropout(gw.tanh(gw.linear("a", x, h)), 0.5)

    layer = gw.nn.Recurrent(dropped, 3, 8)
    x = torch.randn(1, 4, 2, 3).expand(6, -1, -1, -1)
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(lambda x: layer(x)[0])(x)
    same = vmap(lambda x: layer(x)[0], randomness="same")(x)
    assert all(torch.equal(y, same[0]) for y in same)
    different = vmap(lambda x: layer(x)[0], randomness="different")(x)
    assert not torch.equal(different[0] == 0, different[1] == 0)


def test_lengths_that_do_not_fit_are_refused_under_vmap_too():
    layer = gw.nn.GRU(3, 4)
    with pytest.raises(ValueError, match="lengths should be between 0 and the 4 steps"):
        vmap(lambda x, n: layer(x, lengths=n)[0])(torch.randn(2, 4, 1, 3), torch.tensor([[4], [5]]))


def test_the_fast_backend_runs_under_transforms(monkeypatch):
    from gatework.backends.reference import Reference

    def refuse(*_):
        raise AssertionError("the reference ran")

    layer = gw.nn.GRU(3, 4)
    parameters = dict(layer.named_parameters())

    def loss(parameters, x):
        return functional_call(layer, parameters, (x,))[0].square().sum()

    monkeypatch.setattr(Reference, "run", refuse)
    vmap(grad(loss), (None, 1))(parameters, torch.randn(5, 3, 3))
    vmap(loss, (None, 1))(parameters, torch.randn(5, 3, 3))
