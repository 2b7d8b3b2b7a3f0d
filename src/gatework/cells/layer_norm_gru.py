"""The GRU with layer normalisation (after Ba, Kiros & Hinton 2016).

As in the catalogue's layer_norm_lstm, each gate's sum Wx + Uh is normalised over the units, with a
gain and a bias of its own. The reset gate stands between the candidate's two maps, so these are
normalised one by one. Ba et al. normalise Wx and Uh separately for the gates as well.
"""

from gatework.lang import cell, layer_norm, linear, sigmoid, tanh


@cell
def layer_norm_gru(x, h):
    """GRU with each gate normalised over the units (after Ba et al. 2016)."""
    r = sigmoid(layer_norm(linear("r", x, h, bias=False), "norm_r"))
    z = sigmoid(layer_norm(linear("z", x, h, bias=False), "norm_z"))
    n_x = layer_norm(linear("n", x, bias=False), "norm_nx")
    n_h = layer_norm(linear("n", h, bias=False), "norm_nh")
    n = tanh(n_x + r * n_h)
    return (1 - z) * n + z * h
