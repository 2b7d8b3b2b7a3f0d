"""Recurrent networks of quaternions (Parcollet et al. 2019)."""

from gatework.lang import cat, cell, chunk, observe, sigmoid, tanh, vector, weight


def _hamilton(name, row):
    """W ⊗ row: one matrix for each part of W, each applied to every part of the row (eq. 3, 10)."""
    r, i, j, k = (weight(f"{name}_{part}", size="hidden/4") for part in "rijk")
    a, b, c, d = chunk(row, 4)
    return cat(
        [
            r(a) - i(b) - j(c) - k(d),
            i(a) + r(b) - k(c) + j(d),
            j(a) + k(b) + r(c) - i(d),
            k(a) - j(b) + i(c) + r(d),
        ]
    )


@cell
def quaternion_rnn(x, h):
    """QRNN: a vanilla RNN of quaternions (Parcollet et al. 2019, eq. 9).

    Input and state are rows of quaternions, their real parts first, then those of i, j and k, so
    both sizes are multiples of 4. A matrix has a quarter of the weights of a real one.
    """
    return tanh(_hamilton("w", x) + _hamilton("r", h) + vector("b", 0.0))


@cell
def quaternion_lstm(x, h, c):
    """QLSTM: an LSTM of quaternions (Parcollet et al. 2019, eq. 12 to 16).

    As `quaternion_rnn`; the gates multiply each part by numbers of its own.
    """

    def mapped(gate):
        return _hamilton(f"w_{gate}", x) + _hamilton(f"r_{gate}", h) + vector(f"b_{gate}", 0.0)

    i, f, o = (observe(gate, sigmoid(mapped(gate))) for gate in "ifo")
    c = f * c + i * tanh(mapped("c"))
    return o * tanh(c), c
