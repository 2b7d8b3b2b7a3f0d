"""The stackable recurrent cell (Turkoglu, D'Aronco, Wegner & Schindler 2021)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def star(x, h):
    """STAR: made so that gradients neither grow nor shrink along time and depth."""
    n = tanh(linear("n", x))
    k = sigmoid(linear("k", x, h))
    return tanh((1 - k) * h + k * n)
