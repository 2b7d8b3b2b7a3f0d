"""Hierarchically gated recurrent networks (Qin et al. 2023, 2024): they forget at most so fast."""

from gatework.lang import cat, cell, cos, linear, observe, sigmoid, silu, sin, sum, vector


def _angles(units: int) -> list[float]:
    return [10_000.0 ** (-2 * k / units) for k in range(units)]


@cell(output=True)
def hgrn(x, re, im):
    """HGRN: complex numbers turn, and fade no faster than a bound (Qin et al. 2023, section 3).

    Each layer learns its own bound, where those of the paper's layers rise together. Read are real
    and imaginary part side by side; the norm, the gate and the map of that are the block's.
    """
    bound, theta = sigmoid(vector("bound", 0.0)), vector("theta", _angles)
    decay = observe("decay", bound + (1 - bound) * sigmoid(linear("f", x)))
    turn_re, turn_im = decay * cos(theta), decay * sin(theta)
    c_re, c_im = (silu(linear(c, x)) for c in ("c_re", "c_im"))
    new_re = turn_re * re - turn_im * im + (1 - decay) * c_re
    new_im = turn_im * re + turn_re * im + (1 - decay) * c_im
    return cat([new_re, new_im]), (new_re, new_im)


@cell(axes={"S": ("head", "key", "value")}, output=True)
def hgrn2(x, S):
    """HGRN2: keys take in, by outer products, what they do not keep (Qin et al. 2024, section 3).

    Each layer learns its own bound, where those of the paper's layers rise together; the functions
    are those of the authors' code. The norm and the map of the output are the block's.
    """
    i = silu(linear("i", x, size=("head", "value")))
    o, f = (sigmoid(linear(g, x, size=("head", "key"))) for g in "of")
    bound = sigmoid(vector("bound", 0.0, size=("head", "key")))
    decay = observe("decay", bound + (1 - bound) * f)
    S = decay * S + (1 - decay) * i
    return sum(o * S, "key"), S
