"""The vanilla recurrent network (Elman 1990), as in torch.nn.RNN."""

from gatework.lang import cell, linear, relu, tanh


@cell
def rnn(x, h):
    """Vanilla RNN: everything is stored, nothing is selected (Elman 1990)."""
    return tanh(linear("h", x, h))


@cell
def rnn_relu(x, h):
    """Vanilla RNN with a rectifier (Le et al. 2015)."""
    return relu(linear("h", x, h))
