"""The addition-subtraction twin-gated recurrent network (Zhang, Xiong, Su, Lin & Zhang 2018)."""

from gatework.lang import cell, linear, observe, sigmoid


@cell
def atr(x, h):
    """ATR: one sum and one difference of the same two maps give both gates (Zhang et al. 2018)."""
    p = linear("p", x)  # what the input says
    q = linear("q", h)  # what the past says
    i = observe("i", sigmoid(p + q))  # input gate: where they agree
    f = observe("f", sigmoid(p - q))  # forget gate: where they differ
    return i * p + f * h
