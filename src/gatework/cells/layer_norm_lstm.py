"""The LSTM with layer normalisation (Ba, Kiros & Hinton 2016).

Several definitions exist. Here each gate's sum Wx + Uh is normalised over the units, with a gain
and a bias of its own, and so is the memory cell on its way out: the definition of TensorFlow's
LayerNormBasicLSTMCell. Ba et al. normalise Wx and Uh separately, over all four gates at once.
"""

from gatework.lang import cell, layer_norm, linear, sigmoid, tanh


@cell
def layer_norm_lstm(x, h, c):
    """LSTM with each gate and the memory cell normalised over the units (Ba et al. 2016)."""
    i = sigmoid(layer_norm(linear("i", x, h, bias=False), "norm_i"))
    f = sigmoid(layer_norm(linear("f", x, h, bias=False), "norm_f"))
    g = tanh(layer_norm(linear("g", x, h, bias=False), "norm_g"))
    o = sigmoid(layer_norm(linear("o", x, h, bias=False), "norm_o"))
    c = f * c + i * g
    return o * tanh(layer_norm(c, "norm_c")), c
