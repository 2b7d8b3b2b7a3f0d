"""Gated units that are lighter than the GRU."""

from gatework.lang import cell, linear, relu, sigmoid, tanh


@cell
def ligru(x, h):
    """Li-GRU: no reset gate, ReLU (Ravanelli, Brakel, Omologo & Bengio 2018).

    Without the paper's batch normalisation of the maps of x, which training folds into them.
    """
    z = sigmoid(linear("z", x, h))
    n = relu(linear("n", x, h))
    return z * h + (1 - z) * n


@cell
def lightru(x, h):
    """LightRU: the candidate sees the input alone (Ye et al. 2024, Electronics 13, 3204)."""
    n = tanh(linear("n", x))
    f = sigmoid(linear("f", x, h))
    return (1 - f) * h + f * n
