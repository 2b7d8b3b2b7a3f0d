"""minGRU and minLSTM: gates that see the input alone (Feng et al. 2024)."""

from gatework.lang import cell, linear, sigmoid


@cell
def min_gru(x, h):
    """minGRU: no reset gate, no tanh, no recurrent matrix (Feng et al. 2024, section 3.1)."""
    z = sigmoid(linear("z", x))
    return (1 - z) * h + z * linear("n", x)


@cell
def min_lstm(x, h):
    """minLSTM: forget and input gate scaled to a sum of 1 (Feng et al. 2024, section 3.2)."""
    f = sigmoid(linear("f", x))
    i = sigmoid(linear("i", x))
    return (f * h + i * linear("g", x)) / (f + i)
