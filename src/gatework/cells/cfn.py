"""The chaos free network (Laurent & von Brecht 2017)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def cfn(x, h):
    """CFN: without input the state decays to zero, never to chaos (Laurent & von Brecht 2017)."""
    f = sigmoid(linear("f", x, h))  # horizontal gate: how much of the past stays
    i = sigmoid(linear("i", x, h))  # vertical gate: how much of the input enters
    g = tanh(linear("g", x, bias=False))
    return f * tanh(h) + i * g
