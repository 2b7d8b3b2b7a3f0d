"""The content-adaptive recurrent unit (Chan, Ke & Im 2020)."""

from gatework.lang import cell, linear, observe, sigmoid, tanh


@cell
def caru(x, h):
    """CARU: the content of the input weights the update gate (Chan et al. 2020)."""
    e = linear("e", x)
    n = tanh(linear("n", h) + e)
    z = sigmoid(linear("z", x, h))
    u = observe("u", sigmoid(e) * z)
    return (1 - u) * h + u * n
