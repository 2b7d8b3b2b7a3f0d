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


@cell
def irnn(x, h):
    """IRNN: the RNN with a rectifier whose U starts as the identity (Le, Jaitly & Hinton 2015).

    The equations say nothing of the start: set weight_hh to the identity and the biases to zero.
    """
    return relu(linear("h", x, h))


@cell
def leaky_rnn(x, h, *, alpha=0.1):
    """Leaky integrator units, the continuous-time RNN in steps of alpha (Jaeger et al. 2007)."""
    n = tanh(linear("n", x, h))
    return (1 - alpha) * h + alpha * n
