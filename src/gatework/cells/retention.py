"""Retention (Sun et al. 2023): linear attention whose heads fade at fixed rates."""

from gatework.lang import cell, cos, count, linear, sin, sum, vector


def _decays(heads: int) -> list[float]:
    """γ = 1 - 2^(-5 - h): each head keeps twice as long as the one before."""
    return [1 - 2.0 ** (-5 - head) for head in range(heads)]


def _angles(keys: int) -> list[float]:
    return [10_000.0 ** (-k / keys) for k in range(keys)]


@cell(axes={"re": ("head", "key", "value"), "im": ("head", "key", "value")}, output=True)
def retnet(x, re, im):
    """RetNet: keys turn and all fades, at rates that are known (Sun et al. 2023, eq. 4, 6 and 8).

    A key is a complex number, two units of the paper's. There the n-th query and key are turned by
    n θ; here what is held turns by θ in each step, which is the same. The norm and the gate of the
    output are the block's.
    """
    q_re, q_im, k_re, k_im = (
        linear(g, x, bias=False, size=("head", "key")) for g in ("q_re", "q_im", "k_re", "k_im")
    )
    v = linear("v", x, bias=False, size=("head", "value"))
    decay = vector("decay", _decays, size="head", learned=False)
    theta = vector("theta", _angles, size="key", learned=False)
    turn_re, turn_im = decay * cos(theta), decay * sin(theta)
    re, im = turn_re * re - turn_im * im + k_re * v, turn_re * im + turn_im * re - k_im * v
    return sum(q_re * re - q_im * im, "key") / (2 * count("key")) ** 0.5, (re, im)
