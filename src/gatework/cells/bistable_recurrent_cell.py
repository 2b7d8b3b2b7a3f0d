"""Bistable recurrent cells, each unit of which can latch (Vecoven, Ernst & Drion 2021)."""

from gatework.lang import cell, linear, sigmoid, tanh, vector


def _bistable(x, h, a, c):
    """h' from a feedback of 1 + tanh(a), which makes a unit bistable above 1, and a gate σ(c)."""
    a, c = tanh(a), sigmoid(c)
    n = tanh(linear("n", x) + (1 + a) * h)
    return c * h + (1 - c) * n


@cell
def brc(x, h):
    """BRC: each unit sees only its own past (Vecoven et al. 2021)."""
    return _bistable(x, h, linear("a", x) + vector("u_a") * h, linear("c", x) + vector("u_c") * h)


@cell
def nbrc(x, h):
    """nBRC: the other units modulate a unit's feedback and gate (Vecoven et al. 2021)."""
    return _bistable(x, h, linear("a", x, h), linear("c", x, h))
