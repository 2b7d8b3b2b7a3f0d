"""Ordered Neurons (Shen et al. 2019)."""

from gatework.lang import cell, cumax, linear, sigmoid, tanh


@cell
def on_lstm(x, h, c):
    """ON-LSTM: two gates that rise over the units order how long they remember (Shen et al. 2019).

    The letters are the paper's, `mf` and `mi` its master gates f̃ and ĩ, with a chunk size of 1.
    """
    f = sigmoid(linear("f", x, h))  # eq. 1
    i = sigmoid(linear("i", x, h))  # eq. 2
    o = sigmoid(linear("o", x, h))  # eq. 3
    g = tanh(linear("g", x, h))  # eq. 4
    mf = cumax(linear("mf", x, h))  # eq. 9: what is kept from some unit on
    mi = 1 - cumax(linear("mi", x, h))  # eq. 10: what is written up to some unit
    both = mf * mi  # eq. 11
    f = f * both + (mf - both)  # eq. 12
    i = i * both + (mi - both)  # eq. 13
    c = f * c + i * g  # eq. 14
    return o * tanh(c), c  # eq. 5
