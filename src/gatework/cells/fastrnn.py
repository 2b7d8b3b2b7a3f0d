"""FastRNN and FastGRNN, for small devices (Kusupati et al. 2018)."""

from gatework.lang import cell, linear, observe, scalar, sigmoid, tanh, vector


@cell
def fastrnn(x, h):
    """FastRNN: a weighted residual connection of two learned numbers (Kusupati et al. 2018)."""
    n = tanh(linear("n", x, h))
    return sigmoid(scalar("alpha", -3.0)) * n + sigmoid(scalar("beta", 3.0)) * h


@cell
def fastgrnn(x, h):
    """FastGRNN: gate and candidate share their matrices and differ in their bias."""
    shared = linear("n", x, h, bias=False)
    n = tanh(shared + vector("b_n", 1.0))
    z = observe("z", sigmoid(shared + vector("b_z", 1.0)))
    zeta, nu = sigmoid(scalar("zeta", 1.0)), sigmoid(scalar("nu", -4.0))
    return (zeta * (1 - z) + nu) * n + z * h
