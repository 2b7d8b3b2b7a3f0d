"""The Mogrifier LSTM (Melis, Kočiský & Blunsom 2020)."""

from gatework.cells.lstm import lstm
from gatework.lang import cell, observe, sigmoid, weight


def _map(name, size, low_rank):
    """A matrix, or the product of two thin ones."""
    if not low_rank:
        return weight(name, size=size)
    left, right = weight(f"{name}_left", size=size), weight(f"{name}_right", size="rank")
    return lambda v: left(right(v))


@cell
def mogrifier_lstm(x, h, c, *, rounds=5, low_rank=False):
    """Mogrifier LSTM: input and state gate each other before an LSTM (Melis et al. 2020, eq. 1-2).

    Args:
        rounds: How often, in turns; the paper's r.
        low_rank: Whether Q and R are products of two thin matrices, as in the paper's section 2;
            the layer is then given their `rank`.
    """
    for i in range(1, rounds + 1):
        if i % 2:
            q = _map(f"q{i}", "input", low_rank)
            x = observe(f"x{i}", 2 * sigmoid(q(h)) * x)
        else:
            r = _map(f"r{i}", "hidden", low_rank)
            h = observe(f"h{i}", 2 * sigmoid(r(x)) * h)
    return lstm.equations(x, h, c, prefix="lstm")
