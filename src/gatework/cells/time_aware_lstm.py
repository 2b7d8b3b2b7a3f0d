"""The LSTM that forgets with the time between its steps (Baytas et al. 2017)."""

import math

from gatework.lang import cell, linear, log, observe, sigmoid, tanh


@cell
def time_aware_lstm(x, gap, /, h, c):
    """T-LSTM: the short-term part of the memory fades with time between steps (Baytas et al. 2017).

    It reads the gap, the time since the last step, 0 or more. What a learned map finds in the
    memory is its short-term part; it is multiplied by 1/log(e + gap), which the paper takes where
    gaps are long.
    """
    short = tanh(linear("d", c))  # the short-term memory
    fade = observe("fade", 1 / log(math.e + gap))
    c = c - short + fade * short
    i = sigmoid(linear("i", x, h))
    f = sigmoid(linear("f", x, h))
    g = tanh(linear("g", x, h))
    o = sigmoid(linear("o", x, h))
    c = f * c + i * g
    return o * tanh(c), c
