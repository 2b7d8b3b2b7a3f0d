"""Parts of rows along one of several axes, and inputs that have axes, in machine code.

Values and gradients of parts are those of torch's `dim=`.

Of every word along the first, the middle and the last axis, at odd lengths, on both backends.
"""

import pytest
import torch

import gatework as gw
from attending_cells import decoder, each_step
from gatework.backends.cpu import Cpu
from gatework.lang.sizes import Sizes
from plan_calls import assert_plans_agree

AXES = ("a", "b", "c")


def shifted(v, by, dim):
    n, zeros = v.shape[dim], torch.zeros_like(v)
    by = max(-n, min(n, by))
    if by >= 0:
        return torch.cat([zeros.narrow(dim, 0, by), v.narrow(dim, 0, n - by)], dim)
    return torch.cat([v.narrow(dim, -by, n + by), zeros.narrow(dim, 0, -by)], dim)


def torchs_take(v, index, dim):
    return v.index_select(dim, torch.tensor(index))


WORDS = {  # ours of a value and the name of its axis, torch's of a tensor and its dim
    "roll": (lambda v, d: gw.roll(v, 2, d), lambda v, d: v.roll(2, d)),
    "roll back": (lambda v, d: gw.roll(v, -3, d), lambda v, d: v.roll(-3, d)),
    "shift": (lambda v, d: gw.shift(v, 1, d), lambda v, d: shifted(v, 1, d)),
    "shift back": (lambda v, d: gw.shift(v, -2, d), lambda v, d: shifted(v, -2, d)),
    "flip": (lambda v, d: gw.flip(v, d), lambda v, d: v.flip(d)),
    "cumsum": (lambda v, d: gw.cumsum(v, d), lambda v, d: v.cumsum(d)),
    "cumsum from the end": (
        lambda v, d: gw.flip(gw.cumsum(gw.flip(v, d), d), d),
        lambda v, d: v.flip(d).cumsum(d).flip(d),
    ),
    "cumax": (lambda v, d: gw.cumax(v, d), lambda v, d: v.softmax(d).cumsum(d)),
    "take": (
        lambda v, d: v * gw.sum(gw.take(gw.sin(v), [0, 0, 1], dim=d), d),
        lambda v, d: v * torchs_take(v.sin(), [0, 0, 1], d).sum(d, keepdim=True),
    ),
    "cat": (
        lambda v, d: gw.chunk(gw.roll(gw.cat([v, gw.sin(v)], d), 1, d), 2, d)[0],
        lambda v, d: torch.cat([v, v.sin()], d).roll(1, d).chunk(2, d)[0],
    ),
    "pushed": (
        lambda v, d: gw.split(gw.cat([gw.mean(v, d), v], d), [d, "1"], d)[0],
        lambda v, d: torch.cat([v.mean(d, keepdim=True), v], d).narrow(d, 0, v.shape[d]),
    ),
    "zeros": (
        lambda v, d: gw.split(gw.cat([0, v, 2], d), [d, "2"], d)[0],
        lambda v, d: shifted(v, 1, d),
    ),
}


both_precisions = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)


@both_precisions
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dim", range(3))
@pytest.mark.parametrize("name", WORDS)
def test_a_word_along_an_axis_is_torchs(name, dim, backend, dtype):
    """Over two steps, so that a state is arranged as well."""
    ours, torchs = WORDS[name]

    @gw.cell(axes={"S": AXES})
    def arranging(x, S):
        return ours(gw.tanh(gw.linear("u", x, size=AXES) + S), AXES[dim])

    lengths = dict(zip(AXES, (3, 2, 5), strict=True))
    layer = gw.nn.Recurrent(arranging, 4, **lengths).to(dtype)
    x = torch.randn(2, 3, 4, dtype=dtype)
    with gw.use_backend(backend):
        found, _ = layer(x)
    mapped = torch.nn.functional.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)
    u = mapped.unflatten(-1, tuple(lengths.values()))
    first = torchs(u[0].tanh(), dim - 3)
    expected = torch.stack([first, torchs((u[1] + first).tanh(), dim - 3)]).flatten(2)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=10 * tolerance)
    weights, learned = torch.randn_like(expected), list(layer.parameters())
    have, want = (torch.autograd.grad((y * weights).sum(), learned) for y in (found, expected))
    torch.testing.assert_close(have, want, rtol=10 * tolerance, atol=100 * tolerance)


@gw.cell(axes={"S": ("depth", "width")}, output=True)
def stack(x, S):  # Joulin & Mikolov 2015: pushed, popped or left
    push, pop, rest = (gw.sigmoid(gw.linear(g, x, size="1")) for g in ("push", "pop", "rest"))
    top = gw.tanh(gw.linear("top", x, size="width"))
    down, up = gw.cat([top, S[:-1]], dim="depth"), gw.shift(S, -1, dim="depth")
    S = push * down + pop * up + rest * S
    return S[0], S


@gw.cell(axes={"S": ("head", "key", "value")}, output=True)
def rotary(x, S):  # keys that are turned on from step to step, after Su et al. 2021
    q, k = (gw.linear(g, x, size=("head", "key")) for g in "qk")
    v = gw.linear("v", x, size=("head", "value"))
    angle = gw.vector("angle", size=("key/2",))
    a, b = gw.chunk(S + k * v, 2, dim="key")
    turned = [gw.cos(angle) * a - gw.sin(angle) * b, gw.sin(angle) * a + gw.cos(angle) * b]
    S = 0.9 * gw.cat(turned, dim="key")
    return gw.sum(q * S, dim="key"), S


@gw.cell(axes={"w": ("slot",), "M": ("slot", "word")})
def ring(x, w, M):  # a head that goes round the slots, as in Graves et al. 2014, eq. 8
    back, stay, on = (gw.sigmoid(gw.linear(g, x, size="1")) for g in ("back", "stay", "on"))
    w = back * gw.roll(w, -1) + stay * w + on * gw.roll(w, 1)
    w = gw.softmax(w + gw.linear("moved", x, size="slot"))
    M = 0.5 * gw.roll(M, 1, dim="slot") + w * gw.tanh(gw.linear("add", x, size="word"))
    return w + 0.1 * gw.cumsum(M, dim="word")[..., -1], M * M[0] + gw.take(
        M, [1, 0, 1], dim="slot"
    )[2]


CELLS = {c.name: c for c in (stack, rotary, ring, decoder, each_step)}
LENGTHS = {
    "stack": {"depth": 5, "width": 9},
    "rotary": {"head": 2, "key": 6, "value": 17},
    "ring": {"slot": 3, "word": 33},
    "decoder": {"position": 5, "width": 17},
    "each_step": {"position": 5, "width": 17},
}


@both_precisions
@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((1, 1), None), ((4, 3), None), ((3, 40), None), ((4, 5), (4, 0, 2, 1, 4))],
)
@pytest.mark.parametrize("name", CELLS)
def test_machine_code_agrees_with_the_reference(name, shape, lengths, dtype, threads):
    sizes = Sizes.of({"1": 1, "input": 3, "hidden": 4, **LENGTHS[name]})
    lengths = None if lengths is None else torch.tensor(lengths)
    assert_plans_agree(
        Cpu(), CELLS[name], shape, sizes, dtype, lengths, reverse=lengths is not None
    )


@pytest.mark.parametrize("name", ["stack", "rotary", "ring"])
def test_the_derived_gradients_are_autograds(name):
    """Of the reference: by torch's autograd and by the derived backward plan."""
    layer = gw.nn.Recurrent(CELLS[name], 4, **LENGTHS[name]).double()
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    with gw.use_backend("reference"):
        y, _ = layer(x)
        learned = [x, *layer.parameters()]
        found = torch.autograd.grad(y.sin().sum(), learned)
        again = torch.autograd.grad(layer(x)[0].sin().sum(), learned, create_graph=True)
    torch.testing.assert_close(found, tuple(g.detach() for g in again), rtol=1e-9, atol=1e-9)
