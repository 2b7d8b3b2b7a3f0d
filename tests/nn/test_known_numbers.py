"""Numbers that a cell gives its layers: where learned values start, and known ones, which stay."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import gatework as gw
from gatework import cell, linear, tanh, vector, weight
from numerics import assert_same, flat

T, B, I, H = 5, 3, 4, 6
PLANE = ("head", "value")


def rising(n):
    return torch.arange(1.0, n + 1)


def spread(n):
    return np.linspace(0.1, 0.9, n)


def chained(rows, columns):
    return torch.eye(rows, columns).roll(1, 0)


@cell
def ring(x, h):
    """A known matrix, forward and transposed, known rates, and a learned value with a start."""
    u = weight("u", init=chained, learned=False)
    n = tanh(linear("n", x) + u(h) - u.T(h))
    return vector("rate", spread, learned=False) * n + vector("kept", spread) * h


@cell
def learned_ring(x, h):
    u = weight("u", init=chained)
    n = tanh(linear("n", x) + u(h) - u.T(h))
    return vector("rate", spread) * n + vector("kept", spread) * h


def layer_of(cell=ring, **options):
    return gw.nn.Recurrent(cell, I, H, **options)


def thirds(n):
    return [1 / 3] * n


def test_numbers_of_a_list_are_as_exact_as_the_layer():
    @cell
    def leaky(x, h):
        return vector("rate", thirds, learned=False) * (linear("n", x) - h)

    assert layer_of(leaky, dtype=torch.float64).rate_l0.tolist() == thirds(H)


def test_each_layer_starts_with_the_numbers_for_its_sizes():
    layer = layer_of(num_layers=2, bidirectional=True)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        assert torch.equal(getattr(layer, f"weight_u{suffix}"), chained(H, H))
        assert torch.equal(getattr(layer, f"kept{suffix}"), torch.tensor(spread(H)).float())
    with torch.no_grad():
        layer.kept_l0.zero_()
        layer.rate_l1.zero_()
    layer.reset_parameters()
    assert torch.equal(layer.kept_l0, layer.rate_l1)
    assert layer.kept_l0[0] == torch.tensor(0.1)


def test_a_vector_of_several_axes_starts_from_a_function_of_their_lengths():
    @cell(axes={"s": ("head", "key", "value")}, output=True)
    def decaying(x, s):
        a = vector("a", lambda head, value: torch.outer(*map(rising, (head, value))), size=PLANE)
        b = vector("b", rising, size="key", learned=False)
        s = a * b * s + linear("v", x, size=("head", "value"))
        return gw.sum(s, "key"), s

    layer = gw.nn.Recurrent(decaying, I, head=2, key=5, value=3)
    assert layer.a_l0.tolist() == [1, 2, 3, 2, 4, 6]
    assert layer.b_l0.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"of the shape \[2, 3\], got the shape \[2\]"):
        gw.nn.Recurrent(
            gw.cell(axes={"s": PLANE}, output=True)(
                lambda x, s: (s, s * vector("a", lambda head, value: rising(head), size=PLANE))
            ),
            I,
            head=2,
            value=3,
        )


def test_the_state_space_starts_as_its_paper_has_it():
    layer = gw.nn.Recurrent(gw.cells.s6, I, unit=2, mode=3)
    torch.testing.assert_close(layer.log_a_l0.exp(), torch.tensor([1.0, 2, 3, 1, 2, 3]))


def test_what_is_known_is_a_buffer():
    layer = layer_of()
    assert list(dict(layer.named_buffers())) == ["weight_u_l0", "rate_l0"]
    names = ["weight_ih_l0", "bias_ih_l0", "kept_l0"]
    assert [n for n, _ in layer.named_parameters()] == names
    assert [p is getattr(layer, n) for p, n in zip(layer.all_weights[0], names, strict=True)]
    assert len(layer.all_weights[0]) == 3
    assert set(layer.state_dict()) == {*names, "weight_u_l0", "rate_l0"}


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_it_computes_as_if_it_were_learned_and_gets_no_gradient(backend):
    known, learned = layer_of(dtype=torch.float64), layer_of(learned_ring, dtype=torch.float64)
    learned.load_state_dict(known.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    with gw.use_backend(backend):
        found, expected = known(x), learned(x)
        assert_same(flat(found), flat(expected), 1e-12)
        gradients = [
            torch.autograd.grad(y.square().sum(), [x, layer.weight_ih_l0, layer.kept_l0])
            for (y, _), layer in ((found, known), (expected, learned))
        ]
    for have, want in zip(*gradients, strict=True):
        torch.testing.assert_close(have, want)
    known(x)[0].sum().backward()
    assert known.weight_u_l0.grad is None
    assert not known.weight_u_l0.requires_grad


def test_saved_loaded_copied_and_moved():
    layer = layer_of()
    layer.rate_l0.fill_(0.25)
    x = torch.randn(T, B, I)
    fresh = layer_of()
    assert not torch.equal(fresh.rate_l0, layer.rate_l0)
    fresh.load_state_dict(layer.state_dict())
    copies = [fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    for other in copies:
        assert_same(flat(other(x)), flat(layer(x)), 0)
        assert other.rate_l0 is not layer.rate_l0
    assert layer.double().weight_u_l0.dtype == torch.float64
    half = layer.bfloat16()
    assert half.rate_l0.dtype == torch.bfloat16
    assert half(x.bfloat16())[0].dtype == torch.bfloat16
    assert layer.to("meta").weight_u_l0.is_meta


def test_a_pickled_layer_keeps_the_numbers_of_a_lambda_and_a_new_one_has_none():
    @cell
    def unnamed(x, h):
        return vector("a", lambda n: spread(n), learned=False) * tanh(linear("n", x, h))

    layer = pickle.loads(pickle.dumps(layer_of(unnamed)))
    assert torch.equal(layer.a_l0, torch.tensor(spread(H)).float())
    assert layer_of(layer.cell).a_l0.isnan().all()


def test_meta_and_the_default_device():
    with torch.device("meta"):
        layer = layer_of()
    assert layer.weight_u_l0.is_meta
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    assert torch.equal(layer.weight_u_l0, chained(H, H))


def test_a_random_start_follows_the_seed():
    @cell
    def reservoir(x, h):
        u = weight("u", init=lambda rows, columns: torch.randn(rows, columns), learned=False)
        return tanh(linear("n", x) + u(h) + weight("v", learned=False)(h))

    torch.manual_seed(3)
    one = layer_of(reservoir)
    torch.manual_seed(3)
    two = layer_of(reservoir)
    for name, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], value)
    bound = 1 / math.sqrt(H)  # a known one without numbers starts as torch's weights
    assert 0 < one.weight_v_l0.abs().max() <= bound


def test_streams_see_a_change_of_it():
    layer = layer_of().eval()
    x = torch.randn(T, 1, I)
    stream = layer.stream()
    for change in (lambda: None, lambda: layer.rate_l0.mul_(0.5), lambda: layer.double().float()):
        change()
        stream.reset()
        rows = [stream.step(row).clone() for row in x]
        torch.testing.assert_close(torch.stack(rows), layer(x)[0])


def test_single_steps_have_it_too():
    layer, step = layer_of(), gw.nn.RecurrentCell(ring, I, H)
    assert set(dict(step.named_buffers())) == {"weight_u", "rate"}
    step.load_state_dict({n.removesuffix("_l0"): v for n, v in layer.state_dict().items()})
    x = torch.randn(B, I)
    torch.testing.assert_close(step(x), layer(x[None])[0][0])


def test_a_layer_of_which_nothing_is_learned():
    @cell
    def fixed(x, h):
        u, v = (weight(name, learned=False) for name in "uv")
        return tanh(u(h) + v(x))

    layer = gw.nn.Recurrent(fixed, H, H, dtype=torch.float64)
    assert not list(layer.parameters())
    assert layer.initial_state(B).dtype == torch.float64
    x = torch.randn(T, B, H, dtype=torch.float64, requires_grad=True)
    layer(x)[0].sum().backward()
    assert x.grad.isfinite().all()


def test_transforms_and_ensembles():
    layers = [layer_of().eval() for _ in range(3)]
    layers[1].rate_l0.mul_(0.5)
    x = torch.randn(T, B, I)
    parameters, buffers = stack_module_state(layers)

    def run(parameters, buffers):
        return functional_call(layers[0], (parameters, buffers), (x,))[0]

    found = vmap(run)(parameters, buffers)
    for layer, y in zip(layers, found, strict=True):
        torch.testing.assert_close(y, layer(x)[0])


def test_a_compiled_layer_sees_it():
    layer = layer_of().eval()
    x = torch.randn(T, B, I)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])
    layer.rate_l0.mul_(0.5)
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])


def test_initialisers_and_dropped_weights_leave_it():
    @cell
    def two(x, h):
        f = gw.sigmoid(linear("f", x, h) + vector("slow", 2.0, learned=False))
        return f * h + (1 - f) * tanh(linear("n", x) + weight("u", init=chained, learned=False)(h))

    layer = layer_of(two, weight_drop=0.5)
    gw.nn.init.orthogonal_(layer)
    gw.nn.init.forget_bias_(layer, 1.0)
    assert torch.equal(layer.weight_u_l0, chained(H, H))
    assert (layer.slow_l0 == 2).all()
    w = layer.weight_hh_l0.detach()
    torch.testing.assert_close(w @ w.T, torch.eye(H))
    assert layer(torch.randn(T, B, I))[0].isfinite().all()
    for initialise in (gw.nn.init.orthogonal_, gw.nn.init.identity_):
        with pytest.raises(ValueError, match="no recurrent matrix of cell 'ring' is learned"):
            initialise(layer_of())


def test_with_cell_shares_it():
    layer = layer_of()
    other = layer.with_cell(layer.cell.changing({"n": lambda n: 2 * n}))
    assert other.weight_u_l0 is layer.weight_u_l0


def test_an_optimiser_leaves_it():
    layer = layer_of()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.randn(T, B, I))[0].square().sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight_u_l0, chained(H, H))
    assert not torch.equal(layer.kept_l0, layer.rate_l0)


def test_a_learned_state_cannot_have_its_name():
    @cell
    def named(x, h):
        return vector("initial_h", learned=False) * tanh(linear("n", x, h))

    with pytest.raises(ValueError, match="has a parameter 'initial_h_l0' of its own"):
        layer_of(named, learned_state=True)


@pytest.mark.parametrize(
    ("init", "kind", "message"),
    [
        (lambda n: [1.0] * (n + 1), ValueError, r"of the shape \[6\], got the shape \[7\]"),
        (lambda n: 1.0, ValueError, r"of the shape \[6\], got the shape \[\]"),
        (lambda n: [math.nan] * n, ValueError, r"the init of 'a' should .* finite .* got 6 that"),
        (lambda n: torch.ones(n, dtype=torch.complex64), TypeError, "got complex ones; make a v"),
        (lambda n: "many", TypeError, "got str"),
        (lambda n: nn.Linear(1, n), TypeError, "got Linear"),
    ],
)
def test_numbers_that_are_none_are_refused(init, kind, message):
    @cell
    def wrong(x, h):
        return vector("a", init) * tanh(linear("n", x, h))

    with pytest.raises(kind, match=message):
        layer_of(wrong)
