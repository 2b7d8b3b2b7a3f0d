"""The recurrent additive network (Lee, Levy & Zettlemoyer 2017)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def ran(x, h, c):
    """RAN: the memory is a weighted sum of linear maps of the inputs (Lee et al. 2017, eq. 1)."""
    i = sigmoid(linear("i", x, h))
    f = sigmoid(linear("f", x, h))
    c = i * linear("g", x, bias=False) + f * c
    return tanh(c), c
