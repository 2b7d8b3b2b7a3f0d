"""The LSTM with working memory connections (Landi, Baraldi, Cornia & Cucchiara 2021)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def working_memory_lstm(x, h, c):
    """LSTM whose gates see the squashed, mapped memory cell (Landi et al. 2021)."""
    i = sigmoid(linear("i", x, h) + tanh(linear("m_i", c, bias=False)))
    f = sigmoid(linear("f", x, h) + tanh(linear("m_f", c, bias=False)))
    g = tanh(linear("g", x, h))
    c = f * c + i * g
    o = sigmoid(linear("o", x, h) + tanh(linear("m_o", c, bias=False, group="oh")))
    return o * tanh(c), c
