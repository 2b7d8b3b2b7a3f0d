"""The simple gated recurrent network (IET Gener. Transm. Distrib. 2021, doi 10.1049/gtd2.12056)."""

from gatework.lang import cell, linear, observe, sigmoid, tanh


@cell
def sgrn(x, h):
    """SGRN: one map of the input is both gate and content."""
    g = linear("g", x)
    f = observe("f", sigmoid(g + linear("f", h)))
    return tanh((1 - f) * g + f * h)
