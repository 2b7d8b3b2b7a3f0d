"""MinimalRNN (Chen 2017)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def minimal_rnn(x, h):
    """MinimalRNN: the state stays in the space of the encoded inputs (Chen 2017)."""
    e = tanh(linear("e", x))  # the encoded input
    u = sigmoid(linear("u", h) + linear("u", e, bias=False, group="eh"))
    return u * h + (1 - u) * e
