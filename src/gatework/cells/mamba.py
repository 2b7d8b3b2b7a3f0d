"""Selective state spaces: Mamba's S6 (Gu & Dao 2023) and Mamba-2's form (Dao & Gu 2024)."""

import math

from gatework.lang import cell, exp, linear, observe, softplus, sum, vector


def _rising(units: int, modes: int) -> list[list[float]]:
    return [[math.log(k + 1) for k in range(modes)]] * units


@cell(axes={"s": ("unit", "mode")}, output=True)
def s6(x, s):
    """S6: a state space whose step, input and output depend on what comes (Gu & Dao 2023, alg. 2).

    A starts at -1, -2, … along the modes, as the paper has it (S4D-Real). The block's map of the
    input is `u` here; its convolution and gate are left to the model.
    """
    u = linear("u", x, bias=False, size="unit")
    step = softplus(linear("step", x, size="unit"))
    write, read = (linear(g, x, bias=False, size="mode") for g in ("write", "read"))
    log_a = vector("log_a", _rising, size=("unit", "mode"))
    decay = observe("decay", exp(-step * exp(log_a)))
    s = decay * s + step * u * write
    return sum(s * read, "mode") + vector("skip", 1.0, size="unit") * u, s


@cell(axes={"s": ("head", "mode", "value")}, output=True)
def mamba2(x, s):
    """Mamba-2: one decay for all of a head's state (Dao & Gu 2024, eq. 1 with a scalar A).

    All heads share what they read and write by; the block is left to the model.
    """
    u = linear("u", x, bias=False, size=("head", "value"))
    step = softplus(linear("step", x, size="head"))
    write, read = (linear(g, x, bias=False, size="mode") for g in ("write", "read"))
    decay = observe("decay", exp(-step * exp(vector("log_a", 0.0, size="head"))))
    s = decay * s + step * write * u
    return sum(s * read, "mode") + vector("skip", 1.0, size="head") * u, s
