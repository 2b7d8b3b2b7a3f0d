"""Simple gated units (Gao & Glowacka 2016): the input multiplies the state and is not added."""

from gatework.lang import cell, hardsigmoid, linear, sigmoid, softplus, tanh


def _modulated(x, h):
    """h weighted by what the input, multiplied with it, says."""
    return tanh(linear("g", linear("m", x) * h, group="mh")) * h


@cell
def sgu(x, h):
    """SGU (Gao & Glowacka 2016)."""
    out = softplus(_modulated(x, h))
    z = hardsigmoid(linear("z", x, h))
    return (1 - z) * h + z * out


@cell
def dsgu(x, h):
    """DSGU: the modulated state is mapped once more, which keeps it bounded."""
    out = sigmoid(linear("o", _modulated(x, h), bias=False, group="oh"))
    z = hardsigmoid(linear("z", x, h))
    return (1 - z) * h + z * out
