"""RWKV, retention, HGRN, Kimi's delta rule and memories that learn, against other forms of them.

Each is written once more as its paper has it elsewhere: as a sum over all steps before, by complex
numbers, by matrices, or with torch's autograd for the inner gradient. Outputs, the last state and
every gradient, by both backends; odd sizes, random weights.

Legend: T steps, B sequences, h heads, k keys, v values.
"""

import math

import pytest
import torch
from torch import einsum, exp, sigmoid, tanh
from torch.nn.functional import layer_norm, normalize, silu, softplus

import gatework as gw
from numerics import randomised

T, B, INPUT = 7, 3, 6
HEADED = {"head": 2, "key": 3, "value": 5}


def heads(row, n=2):
    return row.unflatten(-1, (n, -1))


def gates(w, x, names, bias=True):
    """The maps of the input, in the order in which they are stacked, each for its heads."""
    mapped = x @ w["weight_ih"].T + (w["bias_ih"] if bias else 0)
    widths = [2 * {"k": 3, "v": 5, "h": 1}[kind] for kind in names]
    return [heads(part) for part in mapped.split(widths, -1)]


def before(x):
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def rwkv4(w, x):
    """Eq. 16 as a softmax over all steps so far: what each exponent is, is written out."""
    mixed = {g: w[f"mu_{g}"] * x + (1 - w[f"mu_{g}"]) * before(x) for g in "rkv"}
    r, k, v = (mixed[g] @ w[f"weight_{g}h"].T for g in "rkv")
    fade, rows = exp(w["log_w"]), []
    for t in range(len(x)):
        exponents = [k[i] - (t - 1 - i) * fade for i in range(t)] + [k[t] + w["u"]]
        share = torch.stack(exponents).softmax(0)
        rows.append(sigmoid(r[t]) * (share * v[: t + 1]).sum(0) @ w["weight_oh"].T)
    return torch.stack(rows), ()


def rwkv6(w, x, rank=32):
    """The sum over all steps before, each faded by all gates since."""
    near = x + (before(x) - x) * w["mu"]
    low = dict(zip("rkvgd", tanh(near @ w["weight_low"].T).split(rank, -1), strict=True))
    mu = {g: low[g] @ w[f"weight_mu_{g}h"].T + w[f"bias_mu_{g}h"] for g in low}
    mixed = {g: x + (before(x) - x) * mu[g] for g in mu}
    r, k, v, g = (heads(mixed[n] @ w[f"weight_{n}h"].T) for n in "rkvg")
    d = tanh(mixed["d"] @ w["weight_w_lowh"].T) @ w["weight_dh"].T + w["lambda_d"]
    fade, u, rows = exp(-exp(heads(d))), w["u"].unflatten(-1, (2, -1)), []
    state = torch.zeros(B, 2, 3, 5, dtype=x.dtype)
    for t in range(len(x)):
        total = einsum("bhk,bhv->bhkv", u * k[t], v[t])
        for i in range(t):
            faded = fade[i + 1 : t].prod(0) * k[i]
            total = total + einsum("bhk,bhv->bhkv", faded, v[i])
        read = einsum("bhk,bhkv->bhv", r[t], total)
        normal = layer_norm(read, (5,), eps=64e-5) * heads(w["norm_weight"]) + heads(w["norm_bias"])
        rows.append((silu(g[t]) * normal).flatten(1))
    for i in range(len(x)):
        state = state + einsum("bhk,bhv->bhkv", fade[i + 1 :].prod(0) * k[i], v[i])
    return torch.stack(rows), (state, x[-1])


def rwkv7(w, x):
    """Eq. 17 with the matrix by which the state is multiplied, values along its rows."""
    mixed = {g: x + (before(x) - x) * w[f"mu_{g}"] for g in "rkvdag"}
    low = {g: mixed[g] @ w[f"weight_{g}_lowh"].T for g in "dag"}
    r, k, v = (heads(mixed[g] @ w[f"weight_{g}h"].T) for g in "rkv")
    d = heads(tanh(low["d"]) @ w["weight_dh"].T + w["lambda_d"])
    fade = exp(-math.exp(-0.5) * sigmoid(d))
    a = sigmoid(heads(low["a"] @ w["weight_ah"].T + w["bias_ah"]))
    g = heads(sigmoid(low["g"]) @ w["weight_gh"].T)
    xi, alpha, rho = (heads(w[n]) for n in ("xi", "alpha", "rho"))
    removed = normalize(k * xi, dim=-1)
    written = k * torch.lerp(torch.ones_like(a), a, alpha.expand_as(a))
    state, rows = torch.zeros(B, 2, 5, 3, dtype=x.dtype), []
    for t in range(len(x)):
        outer = removed[t][..., None] * (a[t] * removed[t])[..., None, :]
        state = state @ (torch.diag_embed(fade[t]) - outer)
        state = state + v[t][..., None] * written[t][..., None, :]
        read = (state @ r[t][..., None])[..., 0]
        normal = layer_norm(read, (5,), eps=64e-5) * heads(w["norm_weight"]) + heads(w["norm_bias"])
        bonus = (r[t] * rho * written[t]).sum(-1, keepdim=True) * v[t]
        rows.append((g[t] * (normal + bonus)).flatten(1))
    return torch.stack(rows), (state.mT, x[-1])


def retnet(w, x):
    """The parallel form, eq. 5: turned queries and keys, (Q K* ⊙ D) V."""
    q_re, q_im, k_re, k_im, v = gates(w, x, "kkkkv", bias=False)
    n = torch.arange(len(x))
    theta = 10_000.0 ** (-torch.arange(3, dtype=x.dtype) / 3)
    turn = torch.polar(torch.ones(len(x), 3, dtype=x.dtype), n[:, None] * theta)[:, None, None]
    q, k = torch.complex(q_re, q_im) * turn, torch.complex(k_re, k_im) * turn
    gamma = 1 - 2.0 ** (-5 - torch.arange(2, dtype=x.dtype))
    past = (n[:, None] - n).clamp(min=0)
    mask = gamma[:, None, None] ** past * (n[:, None] >= n)
    scores = einsum("tbhk,sbhk->bhts", q, k.conj()).real * mask / 6**0.5
    return einsum("bhts,sbhv->tbhv", scores, v).flatten(2), ()


def hgrn(w, x):
    mapped = x @ w["weight_ih"].T + w["bias_ih"]
    f, c_re, c_im = mapped.chunk(3, -1)
    bound = sigmoid(w["bound"])
    kept = bound + (1 - bound) * sigmoid(f)
    c, h, rows = torch.complex(silu(c_re), silu(c_im)), 0, []
    for t in range(len(x)):
        h = torch.polar(kept[t], w["theta"].expand_as(kept[t])) * h + (1 - kept[t]) * c[t]
        rows.append(torch.cat([h.real, h.imag], -1))
    return torch.stack(rows), (h.real, h.imag)


def s5(w, x):
    """In complex numbers, and the discretised input as (λ̄ - 1) / λ."""
    rate = torch.complex(-exp(w["log_rate"]), w["turn"])
    bar = exp(rate * exp(w["log_step"]))
    into = torch.complex(*w["weight_ih"].chunk(2))
    out_of = torch.complex(w["weight_c_reh"], w["weight_c_imh"])
    s, rows = 0, []
    for row in x:
        s = bar * s + (bar - 1) / rate * (row.to(into.dtype) @ into.T)
        rows.append(2 * (s @ out_of.T).real + w["d"] * row)
    return torch.stack(rows), (s.real, s.imag)


def hgrn2(w, x):
    i, o, f = gates(w, x, "vkk")
    bound = sigmoid(heads(w["bound"]))
    kept = bound + (1 - bound) * sigmoid(f)
    state, rows = torch.zeros(B, 2, 3, 5, dtype=x.dtype), []
    for t in range(len(x)):
        state = torch.diag_embed(kept[t]) @ state
        state = state + (1 - kept[t])[..., None] * silu(i[t])[..., None, :]
        rows.append(einsum("bhk,bhkv->bhv", sigmoid(o[t]), state).flatten(1))
    return torch.stack(rows), (state,)


def kda(w, x):
    """Eq. 1 with the matrices written out."""
    q, k, v, b, a = gates(w, x, "kkvhk", bias=False)
    a = exp(-exp(heads(w["log_a"])) * softplus(a + heads(w["step"])))
    q, k, b = normalize(silu(q), dim=-1), normalize(silu(k), dim=-1), sigmoid(b)[..., None]
    state, rows, one = torch.zeros(B, 2, 3, 5, dtype=x.dtype), [], torch.eye(3, dtype=x.dtype)
    for t in range(len(x)):
        key = k[t][..., None]
        state = (one - b[t] * key @ key.mT) @ torch.diag_embed(a[t]) @ state
        state = state + b[t] * key @ silu(v[t])[..., None, :]
        rows.append((state.mT @ q[t][..., None])[..., 0].flatten(1) / 3**0.5)
    return torch.stack(rows), (state,)


def slope(f, weights, key, value):
    """The inner gradient of |f(key) - value|², by autograd, which is itself differentiated."""
    loss = (f(key, weights) - value).square().sum()
    return torch.autograd.grad(loss, weights, create_graph=True)[0]


def ttt_linear(w, x):
    q, k, v, eta = gates({**w, "bias_ih": 0}, x, "kkvh")
    eta = sigmoid(eta + heads(w["bias_ih"]))[..., None]
    gain, bias = heads(w["norm_weight"]), heads(w["norm_bias"])

    def f(key, weights):
        same = torch.nn.functional.pad(key, (0, 2))  # the further values have no key
        return same + gain * layer_norm(recalled(key, weights), (5,), eps=1e-6) + bias

    first, rows = w["W_0"].unflatten(-1, (2, 3, 5)).expand(B, 2, 3, 5), []
    now = first
    for t in range(len(x)):
        now = now - eta[t] * slope(f, now, k[t], v[t])
        rows.append(f(q[t], now).flatten(1))
    return torch.stack(rows), (now - first,)


def recalled(key, memory):
    return einsum("bhk,bhkv->bhv", key, memory)


def titans(w, x):
    q, k, v, *rates = gates({**w, "bias_ih": 0}, x, "kkvhhh")
    biases = w["bias_ih"].split(2)
    alpha, eta, theta = (
        sigmoid(r + heads(b))[..., None] for r, b in zip(rates, biases, strict=True)
    )
    q, k, v = normalize(silu(q), dim=-1), normalize(silu(k), dim=-1), silu(v)
    memory = torch.zeros(B, 2, 3, 5, dtype=x.dtype, requires_grad=True)
    surprise, rows = torch.zeros_like(memory), []
    for t in range(len(x)):
        surprise = eta[t] * surprise - theta[t] * slope(recalled, memory, k[t], v[t])
        memory = (1 - alpha[t]) * memory + surprise
        rows.append(recalled(q[t], memory).flatten(1))
    return torch.stack(rows), (memory, surprise)


CELLS = {
    "hgrn": (hgrn, {"hidden_size": 5}),
    "hgrn2": (hgrn2, HEADED),
    "kda": (kda, HEADED),
    "retnet": (retnet, HEADED),
    "rwkv4": (rwkv4, {"hidden_size": 5}),
    "rwkv6": (rwkv6, HEADED),
    "rwkv7": (rwkv7, HEADED),
    "s5": (s5, {"hidden_size": 5}),
    "titans": (titans, HEADED),
    "ttt_linear": (ttt_linear, HEADED),
}


def weights_of(layer):
    return {n.removesuffix("_l0"): v for n, v in layer.state_dict(keep_vars=True).items()}


@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CELLS)
def test_it_computes_what_its_paper_says(name, backend):
    again, sizes = CELLS[name]
    cell = gw.cells.catalogue()[name]
    layer = randomised(gw.nn.Recurrent(cell, INPUT, **sizes, dtype=torch.float64))
    x = torch.randn(T, B, INPUT, dtype=torch.float64, requires_grad=True)
    sources = [x, *layer.parameters()]
    y, last = again(weights_of(layer), x)
    expected = gradients_of(y, [s.flatten(1) for s in last], sources)
    with gw.use_backend(backend):
        found, states = layer(x)
        states = states if isinstance(states, tuple) else (states,)
        states = [s[0] for s in states[: len(last)]]
        slopes = gradients_of(found, states, sources)
    torch.testing.assert_close(found, y, rtol=1e-10, atol=1e-10)
    for state, row in zip(states, last, strict=True):
        torch.testing.assert_close(state, row.flatten(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(slopes, expected, rtol=1e-8, atol=1e-8)


def gradients_of(y, states, sources):
    loss = y.sin().sum() + sum(s.square().sum() for s in states)
    return torch.autograd.grad(loss, sources)


# ---- what is special to one of them --------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e3, -1e3])
def test_rwkv4_takes_keys_of_any_size(scale):
    """e to the power of a thousand is infinite, of minus a thousand 0."""
    layer = randomised(gw.nn.Recurrent(gw.cells.rwkv4, INPUT, 5, dtype=torch.float64))
    x = torch.rand(T, B, INPUT, dtype=torch.float64) + 0.5
    with torch.no_grad():
        layer.weight_kh_l0.copy_(scale * layer.weight_kh_l0.abs())
        y, _ = layer(x)
        expected, _ = rwkv4(weights_of(layer), x)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)


def test_what_is_known_of_retention_is_not_learned():
    layer = gw.nn.Recurrent(gw.cells.retnet, 4, head=3, key=2, value=2, dtype=torch.float64)
    assert [n for n, _ in layer.named_buffers()] == ["decay_l0", "theta_l0"]
    assert layer.decay_l0.tolist() == [31 / 32, 63 / 64, 127 / 128]
    assert layer.theta_l0.tolist() == [1.0, pytest.approx(0.01)]


def test_s5_starts_with_the_eigenvalues_of_hippo_n():
    """The normal part of A = -√(2i+1)√(2j+1) below, -(i+1) on the diagonal, and 0 above."""
    n = 8
    root = (2 * torch.arange(n, dtype=torch.float64) + 1).sqrt()
    a = -torch.tril(torch.outer(root, root), -1) - torch.diag(torch.arange(1.0, n + 1).double())
    normal = a + torch.outer(root, root) / 2
    expected = torch.linalg.eigvals(normal)
    layer = gw.nn.Recurrent(gw.cells.s5, 3, n // 2, dtype=torch.float64)
    found = torch.complex(-exp(layer.log_rate_l0), layer.turn_l0).detach()
    both = torch.cat([found, found.conj()])
    order = both.imag.argsort(), expected.imag.argsort()
    torch.testing.assert_close(both[order[0]], expected[order[1]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["hgrn", "hgrn2"])
def test_nothing_fades_faster_than_its_bound(name):
    layer = gw.nn.Recurrent(gw.cells.catalogue()[name], 4, 8)
    with torch.no_grad():
        layer.bound_l0.fill_(math.log(9))  # a bound of 9/10
        decay = layer.trace(100 * torch.randn(20, 2, 4))["decay"]
    assert decay.min() == pytest.approx(0.9, abs=1e-4)
    assert decay.max() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("name", "gate"), [("rwkv6", "w"), ("rwkv7", "w"), ("kda", "decay")])
def test_a_memory_starts_slow(name, gate):
    layer = gw.nn.Recurrent(gw.cells.catalogue()[name], 16, 64)
    decay = layer.trace(0.1 * torch.randn(20, 2, 16))[gate]
    assert decay.amax() > 0.98


def test_a_step_of_ttt_brings_the_memory_nearer_to_what_it_read():
    """The same input twice: what the inner model gives for it is nearer to the value."""
    cell = gw.cells.ttt_linear(rate=0.01)
    layer = gw.nn.Recurrent(cell, 6, head=1, key=4, value=4, dtype=torch.float64)
    with torch.no_grad():
        rows = dict(zip("qkv", layer.weight_ih_l0.split(4), strict=False))
        rows["q"].copy_(rows["k"])  # it is asked for what it was told
        x = torch.randn(1, 5, 6, dtype=torch.float64).expand(40, 5, 6)
        y, _ = layer(x)
        error = (y - x @ rows["v"].T).square().sum(-1)
    assert (error[1:] < error[:-1]).all()
