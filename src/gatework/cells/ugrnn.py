"""Two cells proposed as easy to train by Collins, Sohl-Dickstein & Sussillo 2017."""

from gatework.lang import cell, linear, relu, sigmoid, tanh


@cell
def ugrnn(x, h):
    """UGRNN, update gate RNN: the GRU without its reset gate (Collins et al. 2017)."""
    n = tanh(linear("n", x, h))
    g = sigmoid(linear("g", x, h))
    return g * h + (1 - g) * n


@cell(output=True)
def intersection_rnn(x, h):
    """+RNN, intersection RNN: a gate along time and one along depth (Collins et al. 2017).

    The output passes the input on. The paper passes it as it is, which needs an input of the hidden
    size; here a map of it.
    """
    n_y = relu(linear("n_y", x, h))
    n_h = tanh(linear("n_h", x, h))
    g_y = sigmoid(linear("g_y", x, h))
    g_h = sigmoid(linear("g_h", x, h))
    y = g_y * linear("p", x, bias=False) + (1 - g_y) * n_y
    return y, g_h * h + (1 - g_h) * n_h
