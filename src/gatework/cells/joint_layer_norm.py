"""Cells that normalise the values of all gates together, not gate by gate."""

from gatework.lang import (
    cell,
    layer_norm,
    linear,
    mean,
    observe,
    sigmoid,
    sqrt,
    square,
    tanh,
    vector,
)


def _normalised(name, rows, *, eps=1e-5):
    """Layer normalisation over the units of several gates at once; a gain and a bias per unit."""
    centre = sum(mean(v) for v in rows.values()) / len(rows)
    variance = sum(mean(square(v - centre)) for v in rows.values()) / len(rows)
    return {
        gate: (v - centre) / sqrt(variance + eps) * vector(f"{name}_weight_{gate}", 1.0)
        + vector(f"{name}_bias_{gate}", 0.0)
        for gate, v in rows.items()
    }


@cell
def layer_norm_lstm_joint(x, h, c):
    """LSTM as Ba, Kiros & Hinton 2016 (eq. 20-22) normalise it: Wx and Uh, each over all gates."""
    from_x = _normalised("norm_x", {g: linear(g, x, bias=False) for g in "ifgo"})
    from_h = _normalised("norm_h", {g: linear(g, h, bias=False) for g in "ifgo"})
    i, f, o = (observe(k, sigmoid(from_x[k] + from_h[k])) for k in "ifo")
    g = observe("g", tanh(from_x["g"] + from_h["g"]))
    c = f * c + i * g
    return o * tanh(layer_norm(c, "norm_c")), c


@cell
def dreamer_gru(x, h):
    """The GRU of DreamerV2 (Hafner et al. 2021): one norm over all gates; it starts by keeping."""
    v = _normalised("norm", {g: linear(g, x, h, bias=False) for g in "rnz"}, eps=1e-3)
    r = observe("r", sigmoid(v["r"]))
    n = observe("n", tanh(r * v["n"]))
    z = observe("z", sigmoid(v["z"] - 1))
    return z * n + (1 - z) * h
