"""The minimal gated unit (Zhou, Wu, Zhang & Zhou 2016)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def mgu(x, h):
    """MGU: a GRU whose two gates are one (Zhou et al. 2016)."""
    f = sigmoid(linear("f", x, h))
    n = tanh(linear("n", x, f * h, group="fh"))
    return (1 - f) * h + f * n
