"""The LSTM whose gates look at the memory cell (Gers & Schmidhuber 2000; Graves 2013)."""

from gatework.lang import cell, linear, sigmoid, tanh, vector


@cell
def peephole_lstm(x, h, c):
    """LSTM with peepholes: gates also see the memory cell, unit by unit (Graves 2013, eq. 7-11)."""
    i = sigmoid(linear("i", x, h) + vector("peephole_i") * c)
    f = sigmoid(linear("f", x, h) + vector("peephole_f") * c)
    g = tanh(linear("g", x, h))
    c = f * c + i * g
    o = sigmoid(linear("o", x, h) + vector("peephole_o") * c)
    return o * tanh(c), c
