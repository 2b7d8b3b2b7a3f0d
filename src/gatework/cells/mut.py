"""The three best cells of a search over ten thousand (Jozefowicz, Zaremba & Sutskever 2015).

All are relatives of the GRU; z = 1 takes the candidate. Where MUT1 and MUT2 add the input itself to
the hidden units, a map of it stands here, so that the input may have any size.
"""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def mut1(x, h):
    """MUT1: the update gate sees the input alone, the candidate a squashed input."""
    z = sigmoid(linear("z", x))
    r = sigmoid(linear("r", x, h))
    e = tanh(linear("e", x))
    n = tanh(linear("n", r * h, group="rh") + e)
    return n * z + h * (1 - z)


@cell
def mut2(x, h):
    """MUT2: as the GRU with the reset gate before the product."""
    z = sigmoid(linear("z", x, h))
    r = sigmoid(linear("r", x, h))
    n = tanh(linear("n", x, r * h, group="rh"))
    return n * z + h * (1 - z)


@cell
def mut3(x, h):
    """MUT3: the update gate sees the squashed state."""
    z = sigmoid(linear("z", x) + linear("z", tanh(h), group="th"))
    r = sigmoid(linear("r", x, h))
    n = tanh(linear("n", x, r * h, group="rh"))
    return n * z + h * (1 - z)
