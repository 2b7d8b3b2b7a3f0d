"""Independently recurrent networks: each unit sees only its own past (Li et al. 2018)."""

from gatework.lang import cell, linear, relu, sigmoid, tanh, vector


@cell
def indrnn(x, h):
    """IndRNN: the recurrent matrix is diagonal (Li, Li, Cook, Zhu & Gao 2018), with ReLU."""
    return relu(linear("n", x) + vector("u") * h)


@cell
def indy_lstm(x, h, c):
    """IndyLSTM: the LSTM with diagonal recurrent matrices (Gonnet & Deselaers 2019)."""
    i = sigmoid(linear("i", x) + vector("u_i") * h)
    f = sigmoid(linear("f", x) + vector("u_f") * h)
    g = tanh(linear("g", x) + vector("u_g") * h)
    o = sigmoid(linear("o", x) + vector("u_o") * h)
    c = f * c + i * g
    return o * tanh(c), c


@cell
def indy_gru(x, h):
    """IndyGRU: the GRU with diagonal recurrent matrices, after Gonnet & Deselaers 2019."""
    r = sigmoid(linear("r", x) + vector("u_r") * h)
    z = sigmoid(linear("z", x) + vector("u_z") * h)
    n = tanh(linear("n", x) + r * (vector("u_n") * h))
    return (1 - z) * n + z * h
