"""The GRU with weighted time-delay feedback (Erichson, Lim, Mahoney 2022)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell(repeat="delay")
def tau_gru(x, h, *past, delay=1):
    """τ-GRU: a second candidate reads the state of `delay` steps before h (Erichson et al. 2022).

    The states past1, past2, … are h one, two, … steps ago.
    """
    u = tanh(linear("u", x, h))
    z = tanh(linear("z", x, past[-1], group="dh"))
    g = sigmoid(linear("g", x, h))
    a = sigmoid(linear("a", x, h))  # weight of the delayed candidate
    return (1 - g) * h + g * (u + a * z), h, *past[:-1]
