"""The cells that no package at hand has, each against its equations written a second time in torch.

Outputs, final states and every gradient; odd sizes, random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, exp, sigmoid, tanh
from torch.nn.functional import layer_norm, relu, softplus

import gatework as gw
from blocks import blocks_of
from numerics import assert_same, gradients, randomised

T, B, I, H = 7, 3, 5, 4

Rows = dict[str, Tensor]  # states by name


class Weights:
    """The parameters of a layer, and their affine maps: `w("i", ih=x, hh=h)`."""

    def __init__(self, layer: gw.nn.Recurrent) -> None:
        self.blocks = blocks_of(layer)

    def __call__(self, gate: str, **rows: Tensor) -> Tensor:
        total = torch.zeros(H, dtype=torch.float64)
        for group, row in rows.items():
            total = total + row @ self.blocks[f"weight_{group}.{gate}"].T
            total = total + self.blocks.get(f"bias_{group}.{gate}", torch.zeros_like(total))
        return total

    def __getitem__(self, name: str) -> Tensor:
        return self.blocks[name]

    def norm(self, name: str, row: Tensor) -> Tensor:
        """torch's layer norm with the gain and bias of that name."""
        return layer_norm(row, row.shape[-1:], self[f"{name}_weight"], self[f"{name}_bias"])

    def joint_norm(self, name: str, rows: Mapping[str, Tensor], eps: float) -> Rows:
        """torch's layer norm over the values of all gates side by side."""
        gain, bias = (
            torch.cat([self[f"{name}_{kind}_{g}"] for g in rows]) for kind in ("weight", "bias")
        )
        row = torch.cat(list(rows.values()), 1)
        normal = layer_norm(row, row.shape[-1:], gain, bias, eps)
        return dict(zip(rows, normal.chunk(len(rows), 1), strict=True))


# ---- the equations, a second time ----------------------------------------------------------------


def irnn(w, x, h):
    return {"h": relu(w("h", ih=x, hh=h))}


def leaky_rnn(w, x, h):
    return {"h": 0.75 * h + 0.25 * tanh(w("n", ih=x, hh=h))}


def coupled_gate_lstm(w, x, h, c):
    i, o = (sigmoid(w(k, ih=x, hh=h)) for k in "io")
    c = c + i * (tanh(w("g", ih=x, hh=h)) - c)
    return {"h": o * tanh(c), "c": c}


def on_lstm(w, x, h, c):
    i, f, o = (sigmoid(w(k, ih=x, hh=h)) for k in "ifo")
    g = tanh(w("g", ih=x, hh=h))
    mf, rising = (torch.cumsum(torch.softmax(w(k, ih=x, hh=h), -1), -1) for k in ("mf", "mi"))
    mi = 1 - rising
    kept, written = mf * (f * mi + 1 - mi), mi * (i * mf + 1 - mf)  # the other form of eq. 12, 13
    c = kept * c + written * g
    return {"h": o * tanh(c), "c": c}


def layer_norm_gru(w, x, h):
    r, z = (sigmoid(w.norm(f"norm_{k}", w(k, ih=x, hh=h))) for k in "rz")
    n = tanh(w.norm("norm_nx", w("n", ih=x)) + r * w.norm("norm_nh", w("n", hh=h)))
    return {"h": n + z * (h - n)}


def layer_norm_lstm(w, x, h, c):
    i, f, g, o = (w.norm(f"norm_{k}", w(k, ih=x, hh=h)) for k in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return {"h": sigmoid(o) * tanh(w.norm("norm_c", c)), "c": c}


def layer_norm_lstm_joint(w, x, h, c):
    from_x = w.joint_norm("norm_x", {k: w(k, ih=x) for k in "ifgo"}, 1e-5)
    from_h = w.joint_norm("norm_h", {k: w(k, hh=h) for k in "ifgo"}, 1e-5)
    i, f, g, o = (from_x[k] + from_h[k] for k in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return {"h": sigmoid(o) * tanh(w.norm("norm_c", c)), "c": c}


def dreamer_gru(w, x, h):
    v = w.joint_norm("norm", {k: w(k, ih=x, hh=h) for k in "rnz"}, 1e-3)
    n = tanh(sigmoid(v["r"]) * v["n"])
    return {"h": h + sigmoid(v["z"] - 1) * (n - h)}


def rhn(w, x, h):
    for k in range(1, 5):
        rows = {"ih": x, "hh": h} if k == 1 else {f"h{k}": h}
        h = h + sigmoid(w(f"t{k}", **rows)) * (tanh(w(f"n{k}", **rows)) - h)
    return {"h": h}


def min_gru(w, x, h):
    return {"h": h + sigmoid(w("z", ih=x)) * (w("n", ih=x) - h)}


def min_lstm(w, x, h):
    f, i = (sigmoid(w(k, ih=x)) for k in "fi")
    return {"h": f / (f + i) * h + i / (f + i) * w("g", ih=x)}


def slstm(w, x, h, c, n, m):
    """Without stabiliser: c and n in full size, m = 0."""
    i, f = exp(w("i", ih=x, hh=h)), sigmoid(w("log_f", ih=x, hh=h))
    c, n = f * c + i * tanh(w("z", ih=x, hh=h)), f * n + i
    return {"h": sigmoid(w("o", ih=x, hh=h)) * c / n, "c": c, "n": n, "m": m}


def sru(w, x, c):
    f, r = (sigmoid(w(k, ih=x) + w[f"peephole_{k}"] * c) for k in "fr")
    c = f * c + (1 - f) * w("g", ih=x)
    return {"output": r * c + (1 - r) * w("p", ih=x), "c": c}


def qrnn(w, x, c, vz, vf, vo):
    z, f, o = tanh(w("z", ih=x) + vz), sigmoid(w("f", ih=x) + vf), sigmoid(w("o", ih=x) + vo)
    c = f * c + (1 - f) * z
    return {"output": o * c, "c": c, **{k: w(k, ih=x) for k in ("vz", "vf", "vo")}}


def caru(w, x, h):
    e = w("e", ih=x)
    weight = sigmoid(e) * sigmoid(w("z", ih=x, hh=h))
    return {"h": (1 - weight) * h + weight * tanh(w("n", hh=h) + e)}


def indy_lstm(w, x, h, c):
    i, f, g, o = (w(k, ih=x) + w[f"u_{k}"] * h for k in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return {"h": sigmoid(o) * tanh(c), "c": c}


def indy_gru(w, x, h):
    r, z = (sigmoid(w(k, ih=x) + w[f"u_{k}"] * h) for k in "rz")
    n = tanh(w("n", ih=x) + r * w["u_n"] * h)
    return {"h": n + z * (h - n)}


def rg_lru(w, x, h):
    r, i = (sigmoid(w(k, ih=x)) for k in "ri")
    a = exp(-8 * softplus(w["decay"]) * r)
    return {"h": a * h + (1 - a**2).sqrt() * i * w("v", ih=x)}


def gru_d(w, x, h, last, waited, mask, gap):
    seen = mask == 1
    delta = gap + waited
    gamma_x = exp(-(w["decay"] * delta + w["decay_bias"]).clamp(min=0))
    h = exp(-relu(w("d", decay_h=delta))) * h
    last = torch.where(seen, x, last)
    x = torch.where(seen, x, gamma_x * last)
    r, z = (sigmoid(w(k, ih=x, hh=h, maskh=mask)) for k in "rz")
    n = tanh(w("n", ih=x, rh=r * h, maskh=mask))
    waited = torch.where(seen, torch.zeros_like(delta), delta)
    return {"h": h + z * (n - h), "last": last, "waited": waited}


def time_aware_lstm(w, x, h, c, gap):
    short = tanh(w("d", ch=c))
    c = (c - short) + short / torch.log(torch.e + gap)
    i, f, o = (sigmoid(w(k, ih=x, hh=h)) for k in "ifo")
    c = f * c + i * tanh(w("g", ih=x, hh=h))
    return {"h": o * tanh(c), "c": c}


def phased_lstm(w, x, h, c, time):
    period, share = exp(w["log_period"]), w["open_share"]
    phase = torch.remainder(time - w["shift"], period) / period
    k = torch.where(phase < share, 2 - 2 * phase / share, 0.25 * phase)
    k = torch.where(phase < share / 2, 2 * phase / share, k)
    i, f = (sigmoid(w(g, ih=x, hh=h) + w[f"peephole_{g}"] * c) for g in "if")
    new = f * c + i * tanh(w("g", ih=x, hh=h))
    o = sigmoid(w("o", ih=x, hh=h) + w["peephole_o"] * new)
    return {"h": h + k * (o * tanh(new) - h), "c": c + k * (new - c)}


def cfc(w, x, h, gap):
    b = tanh(w("b", ih=x, hh=h))
    f = sigmoid(-w("f", backbone=b) * gap)
    g, k = (tanh(w(v, backbone=b)) for v in "gk")
    return {"h": f * g + (1 - f) * k}


@dataclass(frozen=True)
class Case:
    """A cell of the catalogue and its step, written a second time."""

    step: Callable[..., Rows]
    constants: Mapping[str, float] = field(default_factory=dict)
    zero: tuple[str, ...] = ()  # states that start at zero
    drawn: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)  # not normal ones

    @property
    def name(self) -> str:
        return self.step.__name__

    def cell(self) -> gw.Cell:
        return gw.cells.catalogue()[self.name](**self.constants)


CASES = [
    Case(irnn),
    Case(leaky_rnn, {"alpha": 0.25}),
    Case(coupled_gate_lstm),
    Case(on_lstm),
    Case(layer_norm_gru),
    Case(layer_norm_lstm),
    Case(layer_norm_lstm_joint),
    Case(dreamer_gru),
    Case(rhn, {"depth": 4}),
    Case(min_gru),
    Case(min_lstm),
    Case(slstm, zero=("c", "n", "m")),
    Case(sru),
    Case(qrnn),
    Case(caru),
    Case(indy_lstm),
    Case(indy_gru),
    Case(rg_lru),
    Case(gru_d, drawn={"mask": lambda v: (v > 0).double(), "gap": torch.abs}),
    Case(time_aware_lstm, drawn={"gap": torch.abs}),
    Case(phased_lstm, {"leak": 0.25}, drawn={"time": lambda v: 10 * v}),
    Case(cfc, drawn={"gap": torch.abs}),
]


# ---- the tests -----------------------------------------------------------------------------------


def problem(cell: gw.Cell, zero: tuple[str, ...] = ()) -> tuple[gw.nn.Recurrent, Tensor, Rows]:
    """A layer with random weights, an input and initial states."""
    layer = randomised(gw.nn.Recurrent(cell, I, H, dtype=torch.float64))
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    sizes = layer.sizes(0)
    states = {s.name: torch.randn(B, sizes[s.size], dtype=torch.float64) for s in cell.states}
    for name, value in states.items():
        value.mul_(name not in zero).requires_grad_(name not in zero)
    return layer, x, states


def further(case: Case, layer: gw.nn.Recurrent) -> Rows:
    """What the cell reads at each step beside its input."""
    sizes = layer.sizes(0)
    rows = {
        s.name: torch.randn(T, B, sizes[s.size], dtype=torch.float64) for s in layer.cell.further
    }
    return {n: case.drawn[n](v).requires_grad_() for n, v in rows.items()}


def ours(layer: gw.nn.Recurrent, x: Tensor, states: Rows, **given: Tensor) -> Rows:
    rows = tuple(s[None] for s in states.values())
    output, final = layer(x, rows if len(rows) > 1 else rows[0], **given)
    final = final if isinstance(final, tuple) else (final,)
    return {"output": output, **{n: f[0] for n, f in zip(states, final, strict=True)}}


def again(case: Case, layer: gw.nn.Recurrent, x: Tensor, states: Rows, **given: Tensor) -> Rows:
    w, outputs = Weights(layer), []
    for t, row in enumerate(x):
        found = case.step(w, row, **states, **{n: v[t] for n, v in given.items()})
        states = {n: found[n] for n in states}
        outputs.append(found[layer.cell.output_name])
    return {"output": torch.stack(outputs), **states}


def unscaled(rows: Rows) -> Rows:
    """The sLSTM's c and n in full size, whatever m they are divided by."""
    if "m" not in rows:
        return rows
    scale = exp(rows["m"])
    return {**rows, "c": rows["c"] * scale, "n": rows["n"] * scale, "m": torch.zeros_like(scale)}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_cell_is_its_equations(case):
    """By the reference; the battery compares machine code with it."""
    layer, x, states = problem(case.cell(), case.zero)
    given = further(case, layer)
    sources = {"x": x, **given, **states, **dict(layer.named_parameters())}
    sources = {n: v for n, v in sources.items() if n != "mask"}  # theirs only asks whether it is 1
    with gw.use_backend("reference"):
        found = unscaled(ours(layer, x, states, **given))
        expected = again(case, layer, x, states, **given)
        assert_same(found, expected, 1e-9)
        assert_same(gradients(found, sources), gradients(expected, sources), 1e-9)


def test_slstm_stays_finite_where_the_gate_overflows():
    layer = randomised(gw.nn.Recurrent(gw.cells.slstm, I, H))
    x = (1e4 * torch.randn(T, B, I)).requires_grad_()
    output, final = layer(x)
    (output.sum() + sum(s.sum() for s in final)).backward()
    assert output.abs().max() <= 1
    assert all(t.isfinite().all() for t in (output, *final, x.grad))


def test_original_lstm_is_hochreiters_and_schmidhubers_with_other_scales():
    """g(v) = 2 tanh(v/2) and h(c) = tanh(c/2): the memory is twice ours, the weights of g too."""
    layer, x, states = problem(gw.cells.original_lstm)
    w, h, c = Weights(layer), states["h"], 2 * states["c"]
    for row in x:
        i, o = (sigmoid(w(k, ih=row, hh=h)) for k in "io")
        c = c + i * 2 * tanh(2 * w("g", ih=row, hh=h) / 2)
        h = o * tanh(c / 2)
    found = ours(layer, x, states)
    assert_same({"h": found["h"], "c": 2 * found["c"]}, {"h": h, "c": c}, 1e-12)


# ---- relations between cells ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (gw.cells.irnn, gw.cells.rnn_relu),
        (gw.cells.leaky_rnn(alpha=1), gw.cells.rnn),
        (gw.cells.miru1.pin(r=0.5), gw.cells.miru2),
        (gw.cells.lstm.pin(f=1), gw.cells.original_lstm),
        (gw.cells.ugrnn.pin(g=0), gw.cells.rnn),
        (gw.cells.mut2.pin(z=1, r=1), gw.cells.rnn),
    ],
)
def test_equal_cells(special, general):
    assert gw.equivalent(special, general)
