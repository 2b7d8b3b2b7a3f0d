"""The multiplicative LSTM (Krause, Lu, Murray & Renals 2016)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def multiplicative_lstm(x, h, c):
    """LSTM whose gates read the input and m = Wx * Uh instead of h (Krause et al. 2016, eq. 18)."""
    m = linear("m", x, bias=False) * linear("m", h, bias=False)
    i = sigmoid(linear("i", x) + linear("i", m, bias=False, group="mh"))
    f = sigmoid(linear("f", x) + linear("f", m, bias=False, group="mh"))
    g = tanh(linear("g", x) + linear("g", m, bias=False, group="mh"))
    o = sigmoid(linear("o", x) + linear("o", m, bias=False, group="mh"))
    c = f * c + i * g
    return o * tanh(c), c
