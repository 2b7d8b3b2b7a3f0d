"""The HyperLSTM (Ha, Dai & Le 2017)."""

from __future__ import annotations

from gatework.cells.layer_norm_lstm import layer_norm_lstm
from gatework.lang import cat, cell, layer_norm, linear, sigmoid, tanh, vector, weight


def _tenth(rows: int, columns: int) -> list[list[float]]:
    """So that a matrix is scaled by a tenth at first, whatever embeddings of 1 it has."""
    return [[0.1 / columns] * columns] * rows


def _scale(name, hyper_h):
    """d(z), by which the rows of a matrix are scaled; 0.1 at first."""
    z = weight(f"z_{name}", size="embedding", init=0.0)(hyper_h)
    z = z + vector(f"z_bias_{name}", 1.0, size="embedding")
    return weight(f"d_{name}", init=_tenth)(z)


def _gate(y, x, h, hyper_h):
    """What enters gate y, with b(z) for its bias."""
    z = weight(f"z_b_{y}", size="embedding")(hyper_h)
    b = weight(f"d_b_{y}", init=0.0)(z) + vector(f"b_{y}", 0.0)
    from_h = _scale(f"h_{y}", hyper_h) * linear(y, h, bias=False)
    from_x = _scale(f"x_{y}", hyper_h) * linear(y, x, bias=False)
    return layer_norm(from_h + from_x + b, f"norm_{y}")


@cell(sizes={"hyper_h": "hyper", "hyper_c": "hyper"})
def hyper_lstm(x, h, c, hyper_h, hyper_c):
    """HyperLSTM: a small LSTM scales the rows of a larger one (Ha et al. 2017, app. A.2.2).

    The layer is given two sizes: `hyper`, that of the small LSTM, and `embedding`, that of the
    vectors z between the two. Both LSTMs have layer norm. z follows from the small LSTM's state of
    the step before, as the paper has it; the authors' code takes the new one.
    """
    i, f, o = (sigmoid(_gate(y, x, h, hyper_h)) for y in "ifo")
    g = tanh(_gate("g", x, h, hyper_h))
    c = f * c + i * g
    hyper = layer_norm_lstm.equations(cat([h, x]), hyper_h, hyper_c, prefix="hyper")
    return o * tanh(layer_norm(c, "norm_c")), c, *hyper
