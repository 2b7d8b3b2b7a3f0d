"""Tensors of every kind: strided, expanded, without memory; pins that do not fit; eval mode."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch._subclasses import FakeTensorMode

import gatework as gw
from numerics import assert_same, flat, gradients, randomised


def layer_and_call():
    layer = randomised(gw.nn.LSTM(3, 5, num_layers=2, bidirectional=True)).double()
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    state = tuple(torch.randn(2, 4, 4, 5, dtype=torch.float64))
    return layer, x, state


def results(layer, x, state):
    outputs = flat(layer(x, state))
    return {**outputs, **gradients(outputs, {"x": x, **flat(state, "state")})}


@pytest.mark.parametrize(
    "other",
    [
        lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
        lambda t: torch.stack([t, t], -1)[..., 0],
        lambda t: torch.cat([t, t], -1)[..., t.shape[-1] :],
        lambda t: t.flip(0).flip(0),
    ],
    ids=["transposed", "every other", "a part", "flipped"],
)
def test_strided_inputs_and_states(other):
    layer, x, state = layer_and_call()
    expected = results(layer, x.requires_grad_(), tuple(s.requires_grad_() for s in state))
    strided = other(x.detach()).requires_grad_()
    states = tuple(other(s.detach()).requires_grad_() for s in state)
    assert_same(results(layer, strided, states), expected, 0)


def test_expanded_inputs_states_and_gradients():
    layer, x, state = layer_and_call()
    row, initial = x[:, :1].requires_grad_(), tuple(s[:, :1].requires_grad_() for s in state)

    def found(copied):
        given = copied(row.expand(-1, 4, -1)), tuple(copied(s.expand(-1, 4, -1)) for s in initial)
        y, final = layer(*given)  # the gradients of sums are expanded as well
        return flat(torch.autograd.grad(y.sum() + final[1].sum(), [row, *initial]))

    assert_same(found(lambda t: t), found(torch.clone), 1e-12)


def test_expanded_and_strided_parameters():
    layer, x, state = layer_and_call()
    parameters = {n: p.detach() for n, p in layer.named_parameters()}
    other = {n: torch.stack([p, p])[:1].expand(3, *p.shape)[1] for n, p in parameters.items()}
    other |= {n: p.T.contiguous().T for n, p in parameters.items() if p.dim() == 2}
    other["bias_ih_l0"] = torch.zeros((), dtype=torch.float64).expand(20)
    plain = {**parameters, "bias_ih_l0": torch.zeros(20, dtype=torch.float64)}
    found, expected = (torch.func.functional_call(layer, p, (x, state)) for p in (other, plain))
    assert_same(flat(found), flat(expected), 0)


def test_a_backward_pass_in_eval_mode_and_twice():
    layer, x, state = layer_and_call()
    layer.eval()
    x.requires_grad_()
    y, _ = layer(x, state)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(y.square().sum(), x, retain_graph=True)
    assert_same(flat(first), flat(again), 1e-12)
    penalty = first.norm()
    penalty.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())

    def loss(x):
        return layer(x, state)[0].square().sum()

    step = 1e-6 * torch.randn_like(x)
    ends = [torch.func.grad(loss)((x + s).detach()).norm() for s in (step, -step)]
    torch.testing.assert_close((x.grad * step).sum(), (ends[0] - ends[1]) / 2, rtol=1e-5, atol=0)


@pytest.mark.parametrize("made", ["meta", "fake"])
def test_shapes_without_memory(made):
    """With lengths, resets, a state, pins and traces; and their gradients."""
    layer, x, state = layer_and_call()
    options = {"lengths": torch.tensor([6, 0, 2, 3]), "resets": torch.zeros(6, 4).bool()}
    if made == "meta":
        layer.to("meta")
        x, *state = (t.to("meta") for t in (x, *state))
    else:
        mode = FakeTensorMode()
        fake = torch.utils._pytree.tree_map_only(
            torch.Tensor, mode.from_tensor, (dict(layer.named_parameters()), x, state, options)
        )
        parameters, x, state, options = fake
        for name, p in parameters.items():
            setattr(layer, name, torch.nn.Parameter(p))
    gate = torch.empty_like(x[0, 0, :1].expand(5).detach())
    with mode if made == "fake" else nullcontext():
        trace = layer.trace(x, tuple(state), pin={"f": 0.5, "i": gate}, **options)
        y, (h, c) = layer(x, tuple(state), **options)
        y.sum().backward()
    assert {v.shape for v in trace.values()} == {(6, 4, 5)}
    assert (y.shape, h.shape, c.shape) == ((6, 4, 10), (4, 4, 5), (4, 4, 5))
    assert (type(y), y.device) == (type(x), x.device)
    for p in layer.parameters():
        assert p.grad.shape == p.shape


def test_a_layer_made_without_memory_and_filled_later():
    full = gw.nn.GRU(3, 5)
    with torch.device("meta"):
        empty = gw.nn.GRU(3, 5)
    empty = empty.to_empty(device="cpu")
    empty.load_state_dict(full.state_dict())
    x = torch.randn(4, 2, 3)
    assert torch.equal(empty(x)[0], full(x)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float16])
def test_a_pin_of_another_dtype_is_an_error(dtype):
    layer, x = gw.nn.LSTM(3, 5), torch.randn(4, 2, 3)
    with pytest.raises(
        ValueError, match=r"pin\['f'\] is torch\.\w+ on cpu, the layer torch.float32"
    ):
        layer(x, pin={"f": torch.ones(5, dtype=dtype)})
    with pytest.raises(ValueError, match=r"pin\['f'\] is torch.float32 on meta.*\.to\("):
        layer(x, pin={"f": torch.ones(5, device="meta")})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x, pin={"f": torch.ones(5)})
    assert y.dtype == torch.bfloat16


def test_a_copy_shares_nothing_and_keeps_hooks_and_mode():
    layer = gw.nn.LSTM(3, 5).eval()
    seen = []
    layer.register_forward_hook(lambda *_: seen.append(1))
    other = copy.deepcopy(layer)
    other(torch.randn(4, 2, 3))
    assert seen
    assert not other.training
    storages = [{p.untyped_storage().data_ptr() for p in m.parameters()} for m in (layer, other)]
    assert storages[0].isdisjoint(storages[1])


CALLS_ELSEWHERE = {
    "call": lambda layer, x: layer(x)[0],
    "lengths": lambda layer, x: layer(x, lengths=[6, 0])[0],
    "resets": lambda layer, x: layer(x, resets=[[True, False]] * 6)[0],
    "pin": lambda layer, x: layer(x, pin={"z": 0.5})[0],
    "trace": lambda layer, x: layer.trace(x)["z"],
    "lengths of a trace": lambda layer, x: layer.trace(x, lengths=[6, 3]).lengths,
    "stream": lambda layer, x: layer.stream(2).step(x[0]),
    "step": lambda layer, x: gw.nn.GRUCell(3, 5, device="cpu")(x[0]),
}


@pytest.mark.parametrize("name", CALLS_ELSEWHERE)
def test_the_default_device_may_be_another_one(name):
    """Memory for native code is on the CPU whatever torch.set_default_device says."""
    call, x = CALLS_ELSEWHERE[name], torch.randn(6, 2, 3)
    layer = gw.nn.GRU(3, 5)
    with torch.device("meta"):
        torch.manual_seed(1)
        found = call(layer, x)  # the first call of its shape: what is planned now stays
        if found.requires_grad:
            found.sum().backward()
    torch.manual_seed(1)
    torch.testing.assert_close(found, call(layer, x))
    assert not found.requires_grad or name == "step" or layer.weight_hh_l0.grad.isfinite().all()


CHANGED_IN_PLACE = {
    "output": lambda layer, x: layer(x)[0],
    "batch first": lambda layer, x: layer(x)[0].transpose(0, 1),
    "lengths": lambda layer, x: layer(x, lengths=[6, 0, 3])[0],
    "resets": lambda layer, x: layer(x, resets=torch.eye(6, 3).bool())[0],
    "final state": lambda layer, x: torch.cat(flat_state(layer(x)[1])),
    "traced": lambda layer, x: layer.trace(x)["h"],
    "traced state": lambda layer, x: layer.trace(x)[layer.cell.states[-1].name],
    "traced gate": lambda layer, x: next(iter(layer.trace(x).values())),
}


def flat_state(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("what", CHANGED_IN_PLACE)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "rnn_relu"])
def test_what_a_call_returns_may_be_changed_in_place_before_the_backward_pass(name, what, backend):
    cell, call = gw.cells.catalogue()[name], CHANGED_IN_PLACE[what]
    layer, x = gw.nn.Recurrent(cell, 4, 8), torch.randn(6, 3, 4, requires_grad=True)
    factor = torch.rand(call(layer, x).shape)
    learned = [x, *layer.parameters()]

    def found(changed):
        with gw.use_backend(backend):
            y = changed(call(layer, x))
            return torch.autograd.grad(y.square().sum(), learned, allow_unused=True)

    pairs = zip(found(lambda y: y.mul_(factor)), found(lambda y: y * factor), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
