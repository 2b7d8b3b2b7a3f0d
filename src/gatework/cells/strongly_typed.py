"""Strongly-typed recurrent networks (Balduzzi & Ghifary 2016).

Values of different kinds are never added: no map reads the state, so the state of each unit is a
weighted mean of what its inputs say. T-GRU and T-LSTM also read the input of the step before; the
states vz, vf and vo keep what it says: V x.
"""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def t_rnn(x, h):
    """T-RNN: one gate that reads the input (Balduzzi & Ghifary 2016)."""
    z = linear("z", x, bias=False)
    f = sigmoid(linear("f", x))
    return f * h + (1 - f) * z


def _kept(x):
    """What this input will say at the next step."""
    return (linear(name, x, bias=False) for name in ("vz", "vf", "vo"))


@cell
def t_gru(x, h, vz, vf, vo):
    """T-GRU: the output gate weighs what enters (Balduzzi & Ghifary 2016)."""
    z = linear("z", x) + vz
    f = sigmoid(linear("f", x) + vf)
    o = tanh(linear("o", x) + vo)
    return f * h + z * o, *_kept(x)


@cell(output=True)
def t_lstm(x, c, vz, vf, vo):
    """T-LSTM: the output gate weighs what leaves (Balduzzi & Ghifary 2016)."""
    z = linear("z", x) + vz
    f = sigmoid(linear("f", x) + vf)
    o = tanh(linear("o", x) + vo)
    c = f * c + (1 - f) * z
    return c * o, (c, *_kept(x))
