"""The residual LSTM (Kim, El-Khamy & Lee 2017)."""

from gatework.lang import cell, linear, sigmoid, tanh, vector


@cell
def residual_lstm(x, h, c):
    """LSTM with peepholes whose output is a projection plus a shortcut of the input."""
    i = sigmoid(linear("i", x, h) + vector("peephole_i") * c)
    f = sigmoid(linear("f", x, h) + vector("peephole_f") * c)
    g = tanh(linear("g", x, h))
    c = f * c + i * g
    o = sigmoid(linear("o", x, h) + vector("peephole_o") * c)
    m = linear("m", tanh(c), bias=False, group="mh")  # projection
    return o * (m + linear("s", x, bias=False)), c
