"""The closed form of a liquid time-constant network (Hasani et al. 2022)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def cfc(x, gap, /, h):
    """CfC: a gate that moves with the time since the last step mixes two values (Hasani 2022).

    It reads the gap, the time since the last step. Time constant and values are three heads of one
    backbone, a layer as wide as the state. The authors' code adds a second learned value to the
    product with the gap; this is the paper's equation.
    """
    b = tanh(linear("b", x, h))  # the backbone
    f = sigmoid(-linear("f", b, group="backbone") * gap)
    g = tanh(linear("g", b, group="backbone"))
    k = tanh(linear("k", b, group="backbone"))
    return f * g + (1 - f) * k
