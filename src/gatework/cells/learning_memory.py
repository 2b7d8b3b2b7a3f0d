"""Memories that learn while they read: a step is one of gradient descent on the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatework.lang import cell, linear, mean, normalize, sigmoid, silu, sqrt, sum, vector

if TYPE_CHECKING:
    from torch import Tensor

    from gatework.lang.expressions import Expr


def _same(keys: int, values: int) -> Tensor:
    import torch  # which takes its time, and is not needed to name a cell

    return torch.eye(keys, values)


def _small(heads: int, keys: int, values: int) -> Tensor:
    import torch

    return 0.02 * torch.randn(heads, keys, values)


def _normal(v: Expr, eps: float = 1e-6) -> tuple[Expr, Expr]:
    """v with the mean 0 and the deviation 1 over the values, and its own deviation."""
    centred = v - mean(v, "value")
    deviation = sqrt(mean(centred * centred, "value") + eps)
    return centred / deviation, deviation


@cell(axes={"S": ("head", "key", "value")}, output=True)
def ttt_linear(x, S, *, rate=1.0):
    """TTT-Linear: its memory W = W₀ + S is trained on each input (Sun et al. 2024, section 2).

    f(k) = k + LN(W k) shall be v, so a step goes down |f(k) - v|². It is taken after every input,
    the paper's mini-batch of 1. The authors' code divides the rate by twice the number of keys.
    """
    q, k = (linear(g, x, bias=False, size=("head", "key")) for g in "qk")
    v = linear("v", x, bias=False, size=("head", "value"))
    eta = rate * sigmoid(linear("eta", x, size="head"))
    W = vector("W_0", _small, size=("head", "key", "value")) + S
    gain = vector("norm_weight", 1.0, size=("head", "value"))
    bias = vector("norm_bias", 0.0, size=("head", "value"))
    same = vector("same", _same, size=("key", "value"), learned=False)  # units of keys as of values
    normal, deviation = _normal(sum(k * W, "key"))
    error = 2 * gain * (sum(k * same, "key") + gain * normal + bias - v)
    error = error - mean(error, "value") - normal * mean(error * normal, "value")
    step = eta * k * error / deviation
    normal, _ = _normal(sum(q * (W - step), "key"))
    return sum(q * same, "key") + gain * normal + bias, S - step


@cell(axes={"M": ("head", "key", "value"), "S": ("head", "key", "value")}, output=True)
def titans(x, M, S):
    """Titans: a memory that learns by gradients with momentum (Behrouz et al. 2025, eq. 11-15).

    The memory is one matrix, of which the paper also has networks of several layers; its rates
    alpha, eta and theta are sigmoids. The convolutions, the gate and the map of the output are the
    block's.
    """
    q, k = (normalize(silu(linear(g, x, bias=False, size=("head", "key"))), "key") for g in "qk")
    v = silu(linear("v", x, bias=False, size=("head", "value")))
    alpha, eta, theta = (sigmoid(linear(g, x, size="head")) for g in ("alpha", "eta", "theta"))
    S = eta * S - 2 * theta * k * (sum(k * M, "key") - v)  # down the gradient of |M k - v|²
    M = (1 - alpha) * M + S
    return sum(q * M, "key"), (M, S)
