"""Memories written by the delta rule: a value replaces what is held under its key."""

from gatework.lang import (
    cell,
    count,
    exp,
    linear,
    normalize,
    observe,
    sigmoid,
    silu,
    softplus,
    sum,
    vector,
)


@cell(axes={"S": ("head", "key", "value")}, output=True)
def delta_net(x, S):
    """DeltaNet: fast weights that are corrected, not added to (Schlag et al. 2021, eq. 23 to 25).

    Keys and queries have the norm 1 (Yang et al. 2024b, section 3.3). The convolutions and the
    norm of the output around it are the block's.
    """
    q, k = (normalize(silu(linear(g, x, bias=False, size=("head", "key"))), "key") for g in "qk")
    v = linear("v", x, bias=False, size=("head", "value"))
    b = sigmoid(linear("b", x, bias=False, size="head"))  # how far it is corrected
    S = S + k * (b * (v - sum(k * S, "key")))
    return sum(q * S, "key"), S


@cell(axes={"S": ("head", "key", "value")}, output=True)
def gated_delta_net(x, S):
    """Gated DeltaNet: a gate that forgets, then the delta rule (Yang et al. 2025, eq. 10).

    The gate is a sigmoid here; the paper takes Mamba-2's, which lies between 0 and 1 as well.
    """
    q, k = (normalize(silu(linear(g, x, bias=False, size=("head", "key"))), "key") for g in "qk")
    v = linear("v", x, bias=False, size=("head", "value"))
    a = sigmoid(linear("a", x, size="head"))  # how much is kept
    b = sigmoid(linear("b", x, bias=False, size="head"))  # how far it is corrected
    S = a * S
    S = S + k * (b * (v - sum(k * S, "key")))
    return sum(q * S, "key"), S


@cell(axes={"S": ("head", "key", "value")}, output=True)
def kda(x, S):
    """Kimi Delta Attention: a gate for every key, then the delta rule (Kimi Team 2025, eq. 1).

    The gate is Mamba-2's; its map is of full rank here. The convolutions, the norm and the gate of
    the output are the block's.
    """
    q, k = (normalize(silu(linear(g, x, bias=False, size=("head", "key"))), "key") for g in "qk")
    v = silu(linear("v", x, bias=False, size=("head", "value")))
    b = sigmoid(linear("b", x, bias=False, size="head"))  # how far it is corrected
    step = vector("step", -4.0, size=("head", "key"))  # slow at first
    a = softplus(linear("a", x, bias=False, size=("head", "key")) + step)
    S = observe("decay", exp(-exp(vector("log_a", 0.0, size="head")) * a)) * S
    S = S + k * (b * (v - sum(k * S, "key")))
    return sum(q * S, "key") / count("key") ** 0.5, S
