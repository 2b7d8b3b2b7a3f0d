"""The cells whose memory has axes, each against its equations written a second time in torch.

Outputs, the last state and every gradient, by both backends; odd sizes, random weights.
"""

import pytest
import torch
from torch import einsum, sigmoid
from torch.nn.functional import logsigmoid, normalize, silu, softplus

import gatework as gw
from axes_cells import gates_of_input
from numerics import randomised

HEADED = {"head": 2, "key": 3, "value": 5}


def headed(w, names, heads=2):
    return [w[n].unflatten(-1, (heads, -1)) for n in names]


def delta_net(w, x, S, forget=None):
    q, k, v = headed(w, "qkv")
    q, k, rows = normalize(silu(q), dim=-1), normalize(silu(k), dim=-1), []
    for t in range(len(x)):
        S = S if forget is None else forget[t][..., None, None] * S
        right = v[t] - einsum("bhk,bhkv->bhv", k[t], S)
        S = S + einsum("bhk,bhv->bhkv", k[t], sigmoid(w["b"][t])[..., None] * right)
        rows.append(einsum("bhk,bhkv->bhv", q[t], S).flatten(1))
    return torch.stack(rows), S


def gated_delta_net(w, x, S):
    return delta_net(w, x, S, sigmoid(w["a"]))


def gla(w, x, S):
    (q, k, v, a), rows = headed(w, "qkva"), []
    for t in range(len(x)):
        kept = sigmoid(a[t]) ** (1 / 16)
        S = kept[..., None] * S + einsum("bhk,bhv->bhkv", k[t], v[t])
        rows.append(einsum("bhk,bhkv->bhv", q[t], S).flatten(1) / 3**0.5)
    return torch.stack(rows), S


def mlstm(w, x, C):
    (q, k, v, o), rows = headed(w, "qkvo"), []
    n, m, k = C[..., 0], C[..., 0, 0], k / 3**0.5
    for t in range(len(x)):
        log_f = logsigmoid(w["log_f"][t]) + m
        m = torch.maximum(log_f, w["i"][t])
        i, f = torch.exp(w["i"][t] - m), torch.exp(log_f - m)
        C = f[..., None, None] * C + einsum("bhk,bhv->bhkv", i[..., None] * k[t], v[t])
        n = f[..., None] * n + i[..., None] * k[t]
        down = torch.maximum((n * q[t]).sum(-1).abs(), torch.exp(-m))
        h = einsum("bhk,bhkv->bhv", q[t], C) / down[..., None]
        rows.append((sigmoid(o[t]) * h).flatten(1))
    return torch.stack(rows), C


def s6(w, x, s):
    u, rows = w["u"], []
    rates = -torch.exp(w["log_a"]).unflatten(-1, (4, 3))
    for t in range(len(x)):
        step = softplus(w["step"][t])[..., None]
        s = torch.exp(step * rates) * s + step * u[t][..., None] * w["write"][t][:, None]
        rows.append((s * w["read"][t][:, None]).sum(-1) + w["skip"] * u[t])
    return torch.stack(rows), s


def mamba2(w, x, s):
    u, rows = w["u"].unflatten(-1, (2, -1)), []
    for t in range(len(x)):
        step = softplus(w["step"][t])
        decay = torch.exp(-step * torch.exp(w["log_a"]))[..., None, None]
        new = einsum("bm,bhv->bhmv", w["write"][t], step[..., None] * u[t])
        s = decay * s + new
        read = einsum("bm,bhmv->bhv", w["read"][t], s) + w["skip"][:, None] * u[t]
        rows.append(read.flatten(1))
    return torch.stack(rows), s


def slstm_heads(w, x, h):
    """Without the stabiliser, which changes no output: Beck et al. 2024, eq. 8 to 14."""
    c, n, rows = torch.zeros_like(h), torch.zeros_like(h), []
    blocks = w["weight_hh"].unflatten(0, (4, 2, -1))  # [gate, head, unit, unit]
    added = torch.stack([w[gate] for gate in ("i", "log_f", "z", "o")], 1).unflatten(-1, (2, -1))
    added = added + w["bias_hh"].unflatten(0, (4, 2, -1))[:, None]
    for row in added:
        i, f, z, o = row + einsum("bhc,ghrc->gbhr", h, blocks)
        i, f = torch.exp(i), torch.sigmoid(f)
        c, n = f * c + i * torch.tanh(z), f * n + i
        h = torch.sigmoid(o) * c / n
        rows.append(h.flatten(1))
    return torch.stack(rows), h


CELLS = {
    "delta_net": (delta_net, HEADED),
    "gated_delta_net": (gated_delta_net, HEADED),
    "gla": (gla, HEADED),
    "mlstm": (mlstm, HEADED),
    "slstm_heads": (slstm_heads, {"head": 2, "unit": 3}),
    "s6": (s6, {"unit": 4, "mode": 3}),
    "mamba2": (mamba2, {"head": 2, "mode": 3, "value": 5}),
}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", CELLS)
def test_it_computes_what_its_paper_says(name, backend):
    of_torch, sizes = CELLS[name]
    cell = gw.cells.catalogue()[name]
    layer = randomised(gw.nn.Recurrent(cell, 6, **sizes, dtype=torch.float64))
    x = torch.randn(7, 3, 6, dtype=torch.float64, requires_grad=True)
    start = torch.zeros(3, *(sizes[a] for a in cell.states[0].size.split(",")), dtype=x.dtype)
    y, last = of_torch(gates_of_input(layer, x), x, start)
    sources = [x, *layer.parameters()]
    expected = torch.autograd.grad(y.square().sum() + last.square().sum(), sources)
    with gw.use_backend(backend):
        found, state = layer(x)
        state = state[0] if isinstance(state, tuple) else state
        loss = found.square().sum() + state.square().sum()
        gradients = torch.autograd.grad(loss, sources)
    torch.testing.assert_close(found, y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(state[0], last.flatten(1), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-9)
