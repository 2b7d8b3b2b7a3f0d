"""The catalogue: every cell as its equations, a file for each family."""

from gatework.cells.gru import gru, gru_reset_before
from gatework.cells.layer_norm_lstm import layer_norm_lstm
from gatework.cells.lstm import lstm, projected_lstm
from gatework.cells.multiplicative_lstm import multiplicative_lstm
from gatework.cells.peephole_lstm import peephole_lstm
from gatework.cells.rnn import rnn, rnn_relu
from gatework.lang.cell import Cell

__all__ = [
    "catalogue",
    "gru",
    "gru_reset_before",
    "layer_norm_lstm",
    "lstm",
    "multiplicative_lstm",
    "peephole_lstm",
    "projected_lstm",
    "rnn",
    "rnn_relu",
]


def catalogue() -> dict[str, Cell]:
    """Every cell of the catalogue by its name.

    Example:
        >>> "lstm" in catalogue()
        True
    """
    return {name: globals()[name] for name in __all__ if name != "catalogue"}
