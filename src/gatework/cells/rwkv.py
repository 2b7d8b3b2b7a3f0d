"""RWKV: linear attention that reads the input beside the one before (Peng et al. 2023 to 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatework.lang import (
    cell,
    exp,
    layer_norm,
    linear,
    maximum,
    normalize,
    observe,
    sigmoid,
    silu,
    sum,
    tanh,
    vector,
    where,
)

if TYPE_CHECKING:
    from torch import Tensor

    from gatework.lang.expressions import Expr

EPS = 64e-5
"""In the norms of the authors' code: 1e-5 for each of 64 values."""


@dataclass(frozen=True)
class _Rising:
    """Where the units start: the k-th of n at first + span (k / (n - 1))^power, n of all axes.

    So do the logarithms of the rates of fading, in the first layer of each paper: some units keep
    for hundreds of steps, others for a few.
    """

    first: float
    span: float
    power: float

    def numbers(self, *axes: int) -> Tensor:
        """One for each unit."""
        import torch  # which takes its time, and is not needed to name a cell

        return (
            self.first + self.span * torch.linspace(0, 1, math.prod(axes)) ** self.power
        ).reshape(axes)


def _bonuses(n: int) -> list[float]:
    return [math.log(0.3) + (k % 3 - 1) / 2 for k in range(1, n + 1)]


# ---- RWKV-4 --------------------------------------------------------------------------------------


def _with(k: Expr, v: Expr, a: Expr, b: Expr, p: Expr) -> tuple[Expr, Expr, Expr]:
    """The sums a and b with one value more, and their common exponent."""
    p = where(b > 0, p, k)  # at first they are empty
    top = maximum(p, k)
    old, new = exp(p - top), exp(k - top)
    return old * a + new * v, old * b + new, top


@cell(sizes={"last": "input"}, output=True)
def rwkv4(x, a, b, p, last):
    """RWKV-4: a fading mean of values, weighted by their keys (Peng et al. 2023, eq. 11 to 17).

    It is a / b, both divided by e to the power of p, the largest exponent so far, as in appendix D.
    All starts as in the first layer of appendix E.
    """
    ramps = {"r": _Rising(0, 1, 0.5), "k": _Rising(0, 1, 1), "v": _Rising(0, 1, 1)}
    mu = {g: vector(f"mu_{g}", ramp.numbers, size="input") for g, ramp in ramps.items()}
    r, k, v = (linear(g, mu[g] * x + (1 - mu[g]) * last, bias=False) for g in "rkv")
    k, u = observe("k", k), vector("u", _bonuses)  # the bonus of what has just come
    w = exp(vector("log_w", _Rising(-5, 8, 0.7).numbers))
    total, weight, _ = _with(u + k, v, a, b, p)
    a, b, p = _with(k, v, a, b, p - w)
    return linear("o", sigmoid(r) * (total / weight), bias=False), (a, b, p, x)


# ---- RWKV-6 --------------------------------------------------------------------------------------


@cell(axes={"S": ("head", "key", "value")}, sizes={"last": "input"}, output=True)
def rwkv6(x, S, last, *, rank=32):
    """RWKV-6, Finch: the input sets what fades and what is shifted (Peng et al. 2024, section 4.2).

    It does so by maps of a low rank. The map of the output is the block's.
    """
    before, low, keys = last - x, str(rank), ("head", "key")
    near = x + before * vector("mu", 0.5, size="input")

    def shifted(g):
        mu = tanh(linear(f"{g}_low", near, bias=False, size=low, group="low"))
        return x + before * linear(f"mu_{g}", mu, size="input")

    r, k = (linear(g, shifted(g), bias=False, size=keys) for g in "rk")
    v, g = (linear(g, shifted(g), bias=False, size=("head", "value")) for g in "vg")
    d = linear(
        "d", tanh(linear("w_low", shifted("d"), bias=False, size=low)), bias=False, size=keys
    )
    w = observe("w", exp(-exp(vector("lambda_d", _Rising(-6, 5, 0.7).numbers, size=keys) + d)))
    read = sum(r * (S + vector("u", 0.5, size=keys) * k * v), "key")
    return silu(g) * layer_norm(read, "norm", dim="value", eps=EPS), (w * S + k * v, x)


# ---- RWKV-7 --------------------------------------------------------------------------------------


@cell(axes={"S": ("head", "key", "value")}, sizes={"last": "input"}, output=True)
def rwkv7(x, S, last, *, rank=32):
    """RWKV-7, Goose: removes under one key, writes under another (Peng et al. 2025, section 4).

    `a` says for each key how far. As in the paper's first layer, no earlier one's value is mixed
    in. The map of the output is the block's.
    """
    keys, values, low = ("head", "key"), ("head", "value"), str(rank)
    shifted = {g: x + (last - x) * vector(f"mu_{g}", 0.5, size="input") for g in "rkvdag"}
    d, a, g = (linear(f"{g}_low", shifted[g], bias=False, size=low) for g in "dag")
    r, k = (linear(g, shifted[g], bias=False, size=keys) for g in "rk")
    v = linear("v", shifted["v"], bias=False, size=values)
    d = linear("d", tanh(d), bias=False, size=keys)
    d = vector("lambda_d", _Rising(-6.5, 5, 0.85).numbers, size=keys) + d
    w = observe("w", exp(-math.exp(-0.5) * sigmoid(d)))
    a = sigmoid(linear("a", a, size=keys))
    removed = normalize(vector("xi", 1.0, size=keys) * k, "key")
    k = k * (1 + vector("alpha", 1.0, size=keys) * (a - 1))
    S = w * S - a * removed * sum(removed * S, "key") + k * v
    read = layer_norm(sum(r * S, "key"), "norm", dim="value", eps=EPS)
    bonus = sum(vector("rho", 0.0, size=keys) * r * k, "key") * v
    return linear("g", sigmoid(g), bias=False, size=values) * (read + bonus), (S, x)
