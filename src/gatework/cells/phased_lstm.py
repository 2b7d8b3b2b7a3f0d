"""The LSTM whose units open in rhythms of their own (Neil, Pfeiffer & Liu 2016)."""

from gatework.lang import cell, exp, floor, linear, observe, sigmoid, tanh, vector, where


@cell
def phased_lstm(x, time, /, h, c, *, leak=0.001):
    """Phased LSTM: a unit changes only in a phase of its own period (Neil et al. 2016, eq. 1-10).

    It reads the time of each step, on any clock: samples of sensors with different rates are steps
    of one sequence. Each unit learns its period exp(log_period), its shift and the share of the
    period in which it is open. Periods should begin spread over those of the data; the paper draws
    them as `torch.nn.init.uniform_(layer.log_period_l0, 0, 3)` does, and the shifts within them.

    Args:
        leak: How much a closed unit still changes, α; the paper takes 0 after training.
    """
    turns = (time - vector("shift", 0.0)) / exp(vector("log_period", 1.0))
    phase = turns - floor(turns)
    share = vector("open_share", 0.05)
    rising, falling = 2 * phase / share, 2 - 2 * phase / share
    opening = where(phase < share / 2, rising, where(phase < share, falling, leak * phase))
    k = observe("k", opening)
    i = sigmoid(linear("i", x, h) + vector("peephole_i") * c)
    f = sigmoid(linear("f", x, h) + vector("peephole_f") * c)
    g = tanh(linear("g", x, h))
    new = f * c + i * g
    o = sigmoid(linear("o", x, h) + vector("peephole_o") * new)
    return k * (o * tanh(new)) + (1 - k) * h, k * new + (1 - k) * c
