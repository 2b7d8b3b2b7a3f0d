"""The cell that neural architecture search found (Zoph & Le 2017)."""

from gatework.lang import cell, linear, relu, sigmoid, tanh


@cell
def nas(x, h, c):
    """NAS: a tree of eight maps (Zoph & Le 2017), as in the authors' TensorFlow cell."""
    left = tanh(sigmoid(linear("n0", x, h)) * relu(linear("n1", x, h)))
    gate = tanh(sigmoid(linear("n2", x, h)) + relu(linear("n3", x) * linear("n3", h)))
    right = tanh(tanh(linear("n4", x, h)) * sigmoid(linear("n5", x, h)))
    lift = sigmoid(tanh(linear("n6", x, h)) + sigmoid(linear("n7", x, h)))
    c = tanh(left + c) * gate
    return tanh(c * tanh(right + lift)), c
