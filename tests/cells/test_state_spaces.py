"""Cells that start from numbers of their own, against their papers' equations, written in torch.

Outputs, final states and every gradient in float64, by both backends; and what the starts are for.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import gatework as gw
from numerics import assert_same, gradients, randomised

T, B, I, H, D = 9, 3, 5, 4, 6  # D is the order of the LMU's memory


def weights_of(layer):
    return {n.removesuffix("_l0"): v for n, v in layer.state_dict(keep_vars=True).items()}


def lru(w, x, re, im):
    """In complex numbers, as the paper has it."""
    size = torch.exp(-torch.exp(w["nu"]))
    turn = torch.polar(size, torch.exp(w["theta"]))
    into = torch.complex(w["weight_b_re"], w["weight_b_im"])
    out_of = torch.complex(w["weight_c_re"], w["weight_c_im"])
    state, rows = torch.complex(re, im), []
    for row in x:
        state = turn * state + torch.exp(w["gamma"]) * (row.to(into.dtype) @ into.T)
        rows.append((state @ out_of.T).real + row @ w["weight_ih"].T)
    return torch.stack(rows), (state.real, state.imag)


def lmu(w, x, h, m):
    to_u, to_n = (
        [w[f"weight_{g}"][s] for g in ("ih", "hh")] for s in (slice(0, 1), slice(1, None))
    )
    rows = []
    for row in x:
        u = row @ to_u[0].T + h @ to_u[1].T + m @ w["weight_mh"].T
        m = m @ w["weight_a"].T + u * w["b"]
        h = torch.tanh(row @ to_n[0].T + h @ to_n[1].T + m @ w["weight_nm"].T)
        rows.append(h)
    return torch.stack(rows), (h, m)


def lipschitz_rnn(w, x, h, epsilon=0.25, beta=0.625, gamma=0.125):
    def balanced(m):
        turning, growing = m - m.T, m + m.T
        return (1 - beta) * growing + beta * turning - gamma * torch.eye(H, dtype=m.dtype)

    rows = []
    for row in x:
        z = h @ balanced(w["weight_w"]).T + row @ w["weight_ih"].T + w["bias_ih"]
        h = h + epsilon * h @ balanced(w["weight_a"]).T + epsilon * torch.tanh(z)
        rows.append(h)
    return torch.stack(rows), (h,)


CASES = {
    lru: gw.cells.lru(max_phase=3.0),
    lmu: gw.cells.lmu(theta=7.0),
    lipschitz_rnn: gw.cells.lipschitz_rnn(epsilon=0.25, beta=0.625, gamma=0.125),
}


@pytest.mark.parametrize("again", CASES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_cell_is_its_paper(again, backend):
    cell = CASES[again]
    sizes = dict.fromkeys(cell.size_names(), D)
    layer = randomised(gw.nn.Recurrent(cell, I, H, dtype=torch.float64, **sizes))
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    units = [layer.sizes(0)[s.size] for s in cell.states]
    states = [torch.randn(B, n, dtype=torch.float64, requires_grad=True) for n in units]
    sources = {"x": x, **{f"state {k}": s for k, s in enumerate(states)}}
    sources |= dict(layer.named_parameters())
    with gw.use_backend(backend):
        given = tuple(s[None] for s in states)
        y, final = layer(x, given if len(given) > 1 else given[0])
        final = final if isinstance(final, tuple) else (final,)
        found = named(y, [s[0] for s in final])
        expected = named(*again(weights_of(layer), x, *states))
        assert_same(found, expected, 1e-10)
        assert_same(gradients(found, sources), gradients(expected, sources), 1e-9)


def named(y, states):
    return {"output": y, **{f"state {k}": s for k, s in enumerate(states)}}


# ---- the linear recurrent unit -------------------------------------------------------------------


def eigenvalues(layer) -> Tensor:
    w = weights_of(layer)
    return torch.polar(torch.exp(-torch.exp(w["nu"])), torch.exp(w["theta"])).detach()


@pytest.mark.parametrize(("r_min", "r_max", "max_phase"), [(0, 1, math.tau), (0.5, 0.9, 0.3)])
def test_the_eigenvalues_start_evenly_over_the_area_of_a_ring(r_min, r_max, max_phase):
    cell = gw.cells.lru(r_min=r_min, r_max=r_max, max_phase=max_phase)
    found = eigenvalues(gw.nn.Recurrent(cell, 2, 4000, dtype=torch.float64))
    radius, phase = found.abs(), found.angle() % math.tau
    assert r_min <= radius.min() < radius.max() <= r_max
    assert 0 < phase.min() < phase.max() < max_phase
    area = (radius**2 - r_min**2) / (r_max**2 - r_min**2)  # up to each: uniform in [0, 1]
    for share in (area, phase / max_phase):
        counts = torch.histc(share, 10, 0, 1)
        assert counts.min() > 380
        assert counts.max() < 420
    both = torch.histogramdd(torch.stack([area, phase / max_phase], 1), [5, 5]).hist
    assert both.min() > 140
    assert both.max() < 180


def test_the_state_starts_as_large_as_what_enters():
    """γ = √(1 - |λ|²): of white noise B x of variance 1, the state has variance 1 too."""
    torch.manual_seed(0)
    cell = gw.cells.lru(r_min=0.4, r_max=0.9)
    layer = gw.nn.Recurrent(cell, 16, 64, dtype=torch.float64)
    x = torch.randn(400, 32, 16, dtype=torch.float64)
    trace = layer.trace(x, names=["re", "im"])
    size = trace["re"][200:].square() + trace["im"][200:].square()
    w = weights_of(layer)
    entering = (w["weight_b_re"].square() + w["weight_b_im"].square()).sum(1)
    torch.testing.assert_close(size.mean((0, 1)), entering, rtol=0.15, atol=0)


def test_each_layer_of_both_directions_starts_in_the_ring():
    layer = gw.nn.Recurrent(gw.cells.lru, 3, 5, num_layers=2, bidirectional=True)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        assert torch.equal(getattr(layer, f"nu{suffix}"), layer.nu_l0)
    assert layer.weight_ih_l1.shape == (5, 10)


# ---- the Legendre memory -------------------------------------------------------------------------


def legendre(order: int) -> tuple[Tensor, Tensor]:
    """A and B of eq. 2, written out."""
    a, b = torch.zeros(order, order).double(), torch.zeros(order).double()
    for i in range(order):
        b[i] = (2 * i + 1) * (-1) ** i
        for j in range(order):
            a[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
    return a, b


@pytest.mark.parametrize(("order", "theta"), [(1, 3.0), (6, 7.0), (32, 100.0)])
def test_the_memory_is_discretised_by_zero_order_hold(order, theta):
    """exp(A/θ), and A⁻¹ (exp(A/θ) - I) B."""
    a, b = legendre(order)
    held = torch.linalg.matrix_exp(a / theta)
    moved = torch.linalg.solve(a, (held - torch.eye(order)) @ b)
    layer = gw.nn.Recurrent(gw.cells.lmu(theta=theta), 2, 3, order=order, dtype=torch.float64)
    torch.testing.assert_close(layer.weight_a_l0, held)
    torch.testing.assert_close(layer.b_l0, moved, rtol=1e-7, atol=1e-12)


def test_the_memory_holds_the_window():
    """Eq. 3: the signal of r θ steps ago is Σ Pᵢ(2r - 1) mᵢ, with Legendre's polynomials Pᵢ."""
    theta, order = 50, 12
    layer = gw.nn.Recurrent(
        gw.cells.lmu(theta=float(theta)), 1, 2, order=order, dtype=torch.float64
    )
    with torch.no_grad():
        for name, p in layer.named_parameters():
            p.fill_(1.0) if name == "weight_ih_l0" else p.zero_()
    time = torch.arange(200, dtype=torch.float64)
    signal = torch.sin(time / 9) + 0.5 * torch.cos(time / 14)
    m = layer.trace(signal[:, None, None], names=["m"])["m"][-1, 0].detach().numpy()
    for back in range(5, theta, 5):
        found = np.polynomial.legendre.legval(2 * back / theta - 1, m)
        middle = (signal[-back - 1] + signal[-back]) / 2  # each stays for a step
        assert abs(found - middle) < 0.01, back


def test_the_window_is_known_and_all_else_is_learned():
    layer = gw.nn.Recurrent(gw.cells.lmu, 2, 3, order=4)
    assert set(dict(layer.named_buffers())) == {"weight_a_l0", "b_l0"}
    assert not gw.equivalent(gw.cells.lmu, gw.cells.lmu(theta=50.0))
    assert gw.equivalent(gw.cells.lmu, gw.cells.lmu(theta=100.0))


# ---- the Lipschitz RNN ---------------------------------------------------------------------------


def test_the_balanced_matrices_decay_by_gamma_where_they_only_turn():
    """With β = 1 the real parts of A's eigenvalues are -γ, whatever M is."""
    cell = gw.cells.lipschitz_rnn(epsilon=1.0, beta=1.0, gamma=0.25).pin(n=0)
    layer = randomised(gw.nn.Recurrent(cell, 2, 6, dtype=torch.float64))
    x = torch.zeros(1, 6, 2, dtype=torch.float64)
    _, step = layer(x, torch.eye(6, dtype=torch.float64)[None])  # I + A, transposed
    real = torch.linalg.eigvals(step[0] - torch.eye(6)).real
    torch.testing.assert_close(real, torch.full_like(real, -0.25))
