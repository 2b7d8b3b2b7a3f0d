"""Long Short-Term Memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def lstm(x, h, c):
    """LSTM, as in torch.nn.LSTM: a memory cell and three gates (Gers et al. 2000)."""
    i = sigmoid(linear("i", x, h))  # input gate: what enters the memory cell
    f = sigmoid(linear("f", x, h))  # forget gate: what stays in it
    g = tanh(linear("g", x, h))  # candidate
    o = sigmoid(linear("o", x, h))  # output gate: what leaves it
    c = f * c + i * g
    return o * tanh(c), c


@cell(sizes={"h": "proj_size"})
def projected_lstm(x, h, c):
    """LSTM whose output is projected to a smaller size, as torch.nn.LSTM(proj_size=…).

    Sak, Senior & Beaufays 2014, without their second, non-recurrent projection.
    """
    i = sigmoid(linear("i", x, h))
    f = sigmoid(linear("f", x, h))
    g = tanh(linear("g", x, h))
    o = sigmoid(linear("o", x, h))
    c = f * c + i * g
    return linear("r", o * tanh(c), bias=False, size="proj_size", group="hr"), c


@cell
def original_lstm(x, h, c):
    """LSTM of 1997: no forget gate, so the memory only adds up (Hochreiter & Schmidhuber 1997).

    Written with tanh. The paper's squashing functions, 2 tanh(v/2) of the candidate and tanh(c/2)
    of the memory, are the same cell with weights of the candidate and memory of twice the size.
    """
    i = sigmoid(linear("i", x, h))
    g = tanh(linear("g", x, h))
    o = sigmoid(linear("o", x, h))
    c = c + i * g
    return o * tanh(c), c


@cell
def coupled_gate_lstm(x, h, c):
    """CIFG: what is forgotten makes room for what enters, f = 1 - i (Greff et al. 2017)."""
    i = sigmoid(linear("i", x, h))
    g = tanh(linear("g", x, h))
    o = sigmoid(linear("o", x, h))
    c = (1 - i) * c + i * g
    return o * tanh(c), c
