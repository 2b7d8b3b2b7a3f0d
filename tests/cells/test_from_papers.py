"""Cells unlike others: liquid, spiking, clocked, of quaternions, unitary, with tapes and stacks.

Each is written once more in torch in another form: with complex numbers, a mask, the table of a
product, a list of places. Outputs, final states and every gradient in float64, by both backends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, einsum, exp, sigmoid, tanh
from torch.nn.functional import layer_norm, softplus

import gatework as gw
from gatework.lang.sizes import Sizes
from numerics import assert_same, gradients, randomised

T, B, I, H = 9, 3, 4, 8

Rows = dict[str, Tensor]  # states by name


def weights_of(layer) -> Rows:
    return {n.removesuffix("_l0"): v for n, v in layer.state_dict(keep_vars=True).items()}


def lstm_of(w: Rows, prefix: str = "") -> Callable[..., tuple[Tensor, Tensor]]:
    """A step of torch's LSTM with the weights of that prefix."""

    def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        names = (f"{kind}_{prefix}{group}" for kind in ("weight", "bias") for group in ("ih", "hh"))
        return torch.lstm_cell(x, (h, c), *(w[n] for n in names))

    return step


# ---- the equations, a second time ----------------------------------------------------------------


def ltc(w, x, h, gap):
    """The fused step of algorithm 1, with τ for its reciprocal."""
    tau, dt = exp(w["log_tau"]), gap / 3
    for _ in range(3):
        f = sigmoid(
            torch.cat([x, h], 1) @ torch.cat([w["weight_gamma"], w["weight_gamma_r"]], 1).T
            + w["mu"]
        )
        h = (h + dt * f * w["a"]) * tau / (tau + dt * (1 + tau * f))
    return {"h": h}


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v, threshold, dampening):
        ctx.save_for_backward(v)
        ctx.numbers = threshold, dampening
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,), (threshold, dampening) = ctx.saved_tensors, ctx.numbers
        return grad * dampening / threshold * (1 - (v / threshold).abs()).clamp(min=0), None, None


def lif(w, x, z, v):
    v = 0.75 * v + x @ w["weight_ih"].T + z @ w["weight_hh"].T - 0.5 * z
    return {"z": Spike.apply(v - 0.5, 0.5, 0.25), "v": v}


def alif(w, x, z, v, a):
    v = lif(w, x, z, v)["v"]
    a = 0.9375 * a + z
    return {"z": Spike.apply(v - 0.5 - 0.125 * a, 0.5, 0.25), "v": v, "a": a}


def mogrifier_lstm(w, x, h, c):
    for i in range(1, 5, 2):
        x = x * 2 * sigmoid(h @ w[f"weight_q{i}"].T)
        h = h * 2 * sigmoid(x @ w[f"weight_r{i + 1}"].T)
    x = x * 2 * sigmoid(h @ w["weight_q5"].T)
    return dict(zip("hc", lstm_of(w, "lstm_")(x, h, c), strict=True))


def thin_mogrifier_lstm(w, x, h, c):
    thick = {f"weight_{m}": w[f"weight_{m}_left"] @ w[f"weight_{m}_right"] for m in ("q1", "r2")}
    x = x * 2 * sigmoid(h @ thick["weight_q1"].T)
    h = h * 2 * sigmoid(x @ thick["weight_r2"].T)
    return dict(zip("hc", lstm_of(w, "lstm_")(x, h, c), strict=True))


def hyper_lstm(w, x, h, c, hyper_h, hyper_c):
    """With the matrices that a sequence has at a step written out."""

    def normal(row, name):
        return layer_norm(row, row.shape[-1:], w[f"{name}_weight"], w[f"{name}_bias"])

    def scaled(matrix, name):
        z = hyper_h @ w[f"weight_z_{name}"].T + w[f"z_bias_{name}"]
        return (z @ w[f"weight_d_{name}"].T)[:, :, None] * matrix

    gates = []
    for gate, from_x, from_h in zip(
        "ifog", w["weight_ih"].chunk(4), w["weight_hh"].chunk(4), strict=True
    ):
        row = einsum("bij,bj->bi", scaled(from_h, f"h_{gate}"), h)
        row = row + einsum("bij,bj->bi", scaled(from_x, f"x_{gate}"), x)
        bias = w[f"b_{gate}"] + hyper_h @ (w[f"weight_d_b_{gate}"] @ w[f"weight_z_b_{gate}"]).T
        gates.append(normal(row + bias, f"norm_{gate}"))
    i, f, o, g = gates
    small = torch.cat([h, x], 1) @ w["weight_hyper_ih"].T + hyper_h @ w["weight_hyper_hh"].T
    small = [normal(v, f"hyper_norm_{k}") for k, v in zip("ifgo", small.chunk(4, 1), strict=True)]
    hyper_c = sigmoid(small[1]) * hyper_c + sigmoid(small[0]) * tanh(small[2])
    hyper_h = sigmoid(small[3]) * tanh(normal(hyper_c, "hyper_norm_c"))
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(normal(c, "norm_c"))
    return {"h": h, "c": c, "hyper_h": hyper_h, "hyper_c": hyper_c}


def clockwork_rnn(w, x, h, t):
    """One matrix with zeros below its diagonal of blocks, and a mask of the units that run."""
    module = torch.arange(H) // (H // 4)
    blocks = [w["weight_hh"], *(w[f"weight_n{k}h"] for k in range(1, 4))]
    matrix = torch.cat([torch.nn.functional.pad(b, (H - b.shape[1], 0)) for b in blocks])
    assert (matrix[module[:, None] > module] == 0).all()
    biases = torch.cat([w["bias_hh"], *(w[f"bias_n{k}h"] for k in range(1, 4))])
    new = tanh(x @ w["weight_ih"].T + w["bias_ih"] + h @ matrix.T + biases)
    runs = t.detach().round() % 2**module == 0
    return {"h": torch.where(runs, new, h), "t": torch.remainder(t + 1, 8)}


def products() -> Tensor:
    """The table of products of 1, i, j, k: one factor, the other, what comes out."""
    table = torch.zeros(4, 4, 4, dtype=torch.float64)
    for a, row in enumerate(["1 i j k", "i -1 k -j", "j -k -1 i", "k j -i -1"]):
        for b, product in enumerate(row.split()):
            table[a, b, "1ijk".index(product[-1])] = -1 if product[0] == "-" else 1
    return table


def hamilton(w, name, row):
    parts = torch.stack([w[f"weight_{name}_{part}"] for part in "rijk"])
    found = einsum("pij,bqj,pqo->boi", parts, row.unflatten(1, (4, -1)), products())
    return found.flatten(1)


def quaternion_rnn(w, x, h):
    return {"h": tanh(hamilton(w, "w", x) + hamilton(w, "r", h) + w["b"])}


def quaternion_lstm(w, x, h, c):
    i, f, o, g = (hamilton(w, f"w_{k}", x) + hamilton(w, f"r_{k}", h) + w[f"b_{k}"] for k in "ifoc")
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return {"h": sigmoid(o) * tanh(c), "c": c}


def urnn(w, x, re, im):
    """In complex numbers, with torch's Fourier transform."""

    def phases(name, z):
        return z * torch.polar(torch.ones(H, dtype=x.dtype), w[name])

    def reflected(name, z):
        v = torch.complex(w[f"{name}_re"], w[f"{name}_im"])
        return z - 2 * (z @ v.conj())[:, None] * v / (v.abs() ** 2).sum()

    order = w["weight_swap"].argmax(1)
    z = reflected("r1", torch.fft.fft(phases("d1", torch.complex(re, im)), norm="ortho"))
    z = torch.fft.ifft(phases("d2", z[:, order]), norm="ortho")
    z = phases("d3", reflected("r2", z))
    z = z + x.to(z.dtype) @ torch.complex(w["weight_v_re"], w["weight_v_im"]).T
    z = torch.polar((z.abs() + w["b"]).clamp(min=0), z.angle())
    return {"output": torch.cat([z.real, z.imag], 1), "re": z.real, "im": z.imag}


def ntm(w, x, h, c, at, memory):
    """Slot by slot, as the paper's sums are written; the shift by torch's roll."""
    start = w["M_0"].view(5, 3)
    memory = start + memory.unflatten(1, (5, 3))
    read = einsum("bs,bsw->bw", at, memory)
    gates = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
    gates = (gates + read @ w["weight_rh"].T + w["bias_rh"]).chunk(4, 1)
    i, f, o = map(sigmoid, gates[:3])
    c = f * c + i * tanh(gates[3])
    h = o * tanh(c)
    widths = [3, 1, 1, 3, 1, 3, 3]
    k, beta, g, s, gamma, e, a = (h @ w["weight_heads"].T + w["bias_heads"]).split(widths, 1)
    alike = torch.stack(
        [(k * m).sum(1) / (k.norm(dim=1) * m.norm(dim=1) + 1e-3) for m in memory.unbind(1)], 1
    )
    content = exp(softplus(beta) * alike)
    content = content / content.sum(1, keepdim=True)
    at = sigmoid(g) * content + (1 - sigmoid(g)) * at
    at = sum(s.softmax(1)[:, n, None] * at.roll(n - 1, 1) for n in range(3))
    at = at.clamp(min=1e-16) ** (1 + softplus(gamma))
    at = at / at.sum(1, keepdim=True)
    erased = 1 - einsum("bs,bw->bsw", at, sigmoid(e))
    memory = memory * erased + einsum("bs,bw->bsw", at, a)
    return {"h": h, "c": c, "w": at, "M": (memory - start).flatten(1)}


def stack_rnn(w, x, h, s):
    """Place by place, as in eq. 4 and 5."""
    read = s[:, :2] @ w["weight_top"].T
    h = sigmoid(x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + read)
    actions = h @ w["weight_ah"].T + w["bias_ah"]
    (push, pop, keep), new = actions[:, :3].softmax(1).T, sigmoid(actions[:, 3])
    places = [new, *s.T, torch.zeros_like(new)]  # each old one has the place after its own
    new = [push * places[k - 1] + pop * places[k + 1] + keep * places[k] for k in range(1, 6)]
    return {"h": h, "s": torch.stack(new, 1)}


def attention_decoder(w, x, h, keys, annotations, mask):
    """Over the positions alone that are there, for each sequence apart."""
    contexts = []
    for b in range(B):
        there = mask[b] > 0
        energies = tanh(w["weight_w_a"] @ h[b] + keys[b].unflatten(0, (5, 3))[there]) @ w["v_a"]
        contexts.append(energies.softmax(0) @ annotations[b].unflatten(0, (5, 7))[there])
    z, r, n = (x @ w["weight_ih"].T + w["bias_ih"]).chunk(3, 1)
    to_z, to_r, to_n = (torch.stack(contexts) @ w["weight_ch"].T).chunk(3, 1)
    from_z, from_r = (h @ w["weight_hh"].T).chunk(2, 1)
    z, r = sigmoid(z + to_z + from_z), sigmoid(r + to_r + from_r)
    n = tanh(n + to_n + (r * h) @ w["weight_rh"].T)
    return {"h": h + z * (n - h)}


@dataclass(frozen=True)
class Case:
    """A cell of the catalogue and its step, written a second time."""

    step: Callable[..., Rows]
    constants: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    drawn: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)  # not normal ones
    name: str = ""

    def cell(self) -> gw.Cell:
        return gw.cells.catalogue()[self.name or self.step.__name__](**self.constants)


SPIKING = {"alpha": 0.75, "threshold": 0.5, "dampening": 0.25}
CASES = [
    Case(ltc, {"unfolds": 3}, drawn={"gap": torch.abs}),
    Case(lif, SPIKING),
    Case(alif, SPIKING | {"rho": 0.9375, "beta": 0.125}),
    Case(mogrifier_lstm),
    Case(thin_mogrifier_lstm, {"rounds": 2, "low_rank": True}, {"rank": 2}, name="mogrifier_lstm"),
    Case(hyper_lstm, sizes={"hyper": 3, "embedding": 2}),
    Case(clockwork_rnn, drawn={"t": lambda v: 0 * v}),
    Case(quaternion_rnn),
    Case(quaternion_lstm),
    Case(urnn),
    Case(ntm, sizes={"slot": 5, "width": 3}, drawn={"w": lambda v: v.softmax(1)}),
    Case(stack_rnn, sizes={"depth": 5}),
    Case(
        attention_decoder,
        sizes={"position": 5, "align": 3, "width": 7},
        drawn={"mask": lambda v: (v - v.amin(1, keepdim=True) > 0.5).double()},
    ),
]


# ---- the tests -----------------------------------------------------------------------------------


def again(case: Case, layer: gw.nn.Recurrent, x: Tensor, states: Rows, given: Rows) -> Rows:
    w, outputs = weights_of(layer), []
    for t, row in enumerate(x):
        read = {n: v[t] if v.dim() == 3 else v for n, v in given.items()}
        found = case.step(w, row, *states.values(), **read)
        states = {n: found[n] for n in states}
        outputs.append(found[layer.cell.output_name])
    return {"output": torch.stack(outputs), **states}


@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.step.__name__)
def test_cell_is_its_equations(case, backend):
    layer = randomised(gw.nn.Recurrent(case.cell(), I, H, dtype=torch.float64, **case.sizes))
    sizes = Sizes.of(layer.sizes(0))

    def drawn(name, *shape):
        made = case.drawn.get(name, lambda v: v)
        return made(torch.randn(shape, dtype=torch.float64)).requires_grad_()

    x = drawn("x", T, B, I)
    states = {s.name: drawn(s.name, B, sizes[s.size]) for s in layer.cell.states}
    outer = {"sequence": (T, B), "constant": (B,)}
    given = {s.name: drawn(s.name, *outer[s.role], sizes[s.size]) for s in layer.cell.further}
    sources = {"x": x, **states, **given, **dict(layer.named_parameters())}
    expected = again(case, layer, x, states, given)
    with gw.use_backend(backend):
        rows = tuple(s[None] for s in states.values())
        output, final = layer(x, rows if len(rows) > 1 else rows[0], **given)
        final = final if isinstance(final, tuple) else (final,)
        found = {"output": output, **{n: f[0] for n, f in zip(states, final, strict=True)}}
        assert_same(found, expected, 1e-10)
        assert_same(gradients(found, sources), gradients(expected, sources), 1e-9)


# ---- what they are for ---------------------------------------------------------------------------


def plain(cell: gw.Cell, *sizes: int, **named: int) -> gw.nn.Recurrent:
    """A layer in float64 as it starts."""
    return gw.nn.Recurrent(cell, *sizes, **named, dtype=torch.float64)


@pytest.mark.slow
@torch.no_grad()
def test_small_fused_steps_solve_the_liquid_equation():
    """Where f sees the input alone, h goes to f A / (1/τ + f) at the rate 1/τ + f."""
    layer = plain(gw.cells.ltc(unfolds=400), I, H)
    layer.weight_gamma_r_l0.zero_()
    x, gap = torch.randn(1, B, I, dtype=torch.float64), 1.5
    f = sigmoid(x[0] @ layer.weight_gamma_l0.T + layer.mu_l0)
    rate = exp(-layer.log_tau_l0) + f
    expected = f * layer.a_l0 / rate * (1 - exp(-rate * gap))
    torch.testing.assert_close(layer(x, gap=gap)[0][0], expected, rtol=1e-2, atol=1e-3)


@torch.no_grad()
def test_a_threshold_that_adapts_makes_spikes_rarer():
    x = torch.ones(200, 1, I, dtype=torch.float64)
    counts = []
    for cell in (gw.cells.lif, gw.cells.alif(beta=0.5)):
        layer = plain(cell, I, H)
        layer.weight_ih_l0.fill_(0.25 / I)
        layer.weight_hh_l0.zero_()
        spikes = layer(x)[0]
        assert ((spikes == 0) | (spikes == 1)).all()
        counts.append(spikes.sum())
    assert 0 < counts[1] < 0.5 * counts[0]


@torch.no_grad()
def test_a_module_stays_as_it_is_until_its_period_is_over():
    rows = plain(gw.cells.clockwork_rnn, I, H)(torch.randn(17, 1, I, dtype=torch.float64))[0]
    changes = (rows[1:] != rows[:-1]).view(16, 4, 2).all(2)
    for k in range(4):
        assert [t + 1 for t in range(16) if changes[t, k]] == [*range(2**k, 17, 2**k)]


@torch.no_grad()
@pytest.mark.parametrize("units", [1, 2, 7, 64])
def test_the_unitary_matrix_keeps_the_norm(units):
    layer = plain(gw.cells.urnn, 1, units)
    start = [torch.randn(1, B, units, dtype=torch.float64) for _ in range(2)]
    y, _ = layer(torch.zeros(50, B, 1, dtype=torch.float64), tuple(start))
    before = torch.cat(start, -1).norm(dim=-1)
    torch.testing.assert_close(y.norm(dim=-1), before.expand(50, B))


@torch.no_grad()
def test_what_is_pushed_comes_back_when_it_is_popped():
    """The input says what is done: one weight of it for each action, and one for what is pushed."""
    layer = plain(gw.cells.stack_rnn, 4, 4, depth=3)
    for name, p in layer.named_parameters():
        p.zero_()
        if name == "weight_ih_l0":
            p.copy_(torch.eye(4))
        if name == "weight_ah_l0":
            p.copy_(torch.eye(4) * torch.tensor([[200.0], [200], [200], [1]]))
    push, pop, keep = (20 * torch.eye(4, dtype=torch.float64)[n] - 10 for n in range(3))
    first, second = push.clone(), push.clone()
    second[3] = 10
    runs = [first, second], [first, second, keep, pop], [first, second, pop, pop]
    stacks = [layer(torch.stack(steps)[:, None])[1][1][0, 0] for steps in runs]
    low, high = sigmoid(sigmoid(torch.tensor([-10.0, 10.0]).double()))
    expected = [[high, low, 0], [low, 0, 0], [0, 0, 0]]
    torch.testing.assert_close(torch.stack(stacks), torch.tensor(expected).double())


@torch.no_grad()
def test_an_address_is_a_share_of_each_slot_also_after_many_steps():
    layer = gw.nn.Recurrent(gw.cells.ntm, I, 16, slot=6, width=4)
    trace = layer.trace(3 * torch.randn(500, B, I), names=["w", "content"])
    for name in ("w", "content"):
        assert (trace[name] >= 0).all()
        torch.testing.assert_close(trace[name].sum(-1), torch.ones(500, B))


@torch.no_grad()
@pytest.mark.parametrize(("shortest", "longest"), [(1.0, 20.0), (0.01, 3.0)])
def test_rhythms_start_spread_over_their_range(shortest, longest):
    layer = plain(gw.cells.phased_lstm(shortest=shortest, longest=longest), 2, 1000)
    periods, shifts = exp(layer.log_period_l0), layer.shift_l0
    assert shortest < periods.min() < periods.max() < longest
    steps = torch.log(periods).diff()
    torch.testing.assert_close(steps, steps.mean().expand(999), atol=1e-6, rtol=0)
    counts = torch.histc(shifts / periods, 10, 0, 1)
    assert counts.min() >= 95
    assert counts.max() <= 105
    fresh = layer.log_period_l0.clone()
    layer.reset_parameters()
    assert torch.equal(layer.log_period_l0, fresh)
