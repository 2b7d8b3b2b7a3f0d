"""The Gated Recurrent Unit (Cho et al. 2014), in its two variants.

The update gate z is written as in PyTorch, Keras, ONNX and Cho et al.: z = 1 keeps the past.
Chung et al. 2014 write it the other way round.
"""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def gru(x, h):
    """GRU with the reset gate after the product, as in torch.nn.GRU and cuDNN."""
    r = sigmoid(linear("r", x, h))  # reset gate: how much of the past the candidate sees
    z = sigmoid(linear("z", x, h))  # update gate: how much of the past is carried over
    n = tanh(linear("n", x) + r * linear("n", h))  # candidate
    return (1 - z) * n + z * h


@cell
def gru_reset_before(x, h):
    """GRU with the reset gate before the product (Cho et al. 2014, eq. 5-8).

    Keras has it as `reset_after=False`, ONNX as `linear_before_reset=0`.
    """
    r = sigmoid(linear("r", x, h))
    z = sigmoid(linear("z", x, h))
    n = tanh(linear("n", x, r * h, group="rh"))
    return (1 - z) * n + z * h
