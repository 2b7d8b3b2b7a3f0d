"""JANET, just another network: the LSTM with its forget gate alone."""

from gatework.lang import cell, linear, observe, sigmoid, tanh


@cell
def janet(x, h, *, beta=1.0):
    """JANET (van der Westhuizen & Lasenby 2018): beta lets more in than is forgotten."""
    s = linear("f", x, h)
    f = sigmoid(s)  # forget gate
    i = observe("i", 1 - sigmoid(s - beta))  # input gate
    g = tanh(linear("g", x, h))
    return f * h + i * g
