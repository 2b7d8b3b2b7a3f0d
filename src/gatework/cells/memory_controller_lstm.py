"""The LSTM that reads a control vector of its own instead of its output."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell(output=True)
def memory_controller_lstm(x, v, c):
    """MCLSTM: the output predicts, v controls the gates (NIPS 2017 workshop on sequence modelling).

    Not the mass-conserving LSTM, which has the same initials.
    """
    f = sigmoid(linear("f", x, v))
    i = sigmoid(linear("i", x, v))
    o = sigmoid(linear("o", x, v))
    m = sigmoid(linear("m", x, v))  # control gate: what the gates will see
    g = tanh(linear("g", x, v))
    c = f * c + i * g
    return o * tanh(c), (m * tanh(c), c)
