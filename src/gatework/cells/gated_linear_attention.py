"""Gated linear attention (Yang et al. 2024a): a gate for every key of every head."""

from gatework.lang import cell, count, linear, observe, sigmoid, sum


@cell(axes={"S": ("head", "key", "value")}, output=True)
def gla(x, S, *, temperature=16.0):
    """GLA: what is held under each key fades by a gate of its own (Yang et al. 2024a, eq. 3).

    The gates' map is of full rank here, where the paper's goes through 16 units; the norm and the
    gate of the output are the block's.
    """
    q, k = (linear(g, x, bias=False, size=("head", "key")) for g in "qk")
    v = linear("v", x, bias=False, size=("head", "value"))
    a = sigmoid(linear("a", x, size=("head", "key")))
    S = observe("decay", a ** (1 / temperature)) * S + k * v
    return sum(q * S, "key") / count("key") ** 0.5, S
