"""The GRU for values that are missing (Che et al. 2018)."""

from gatework.lang import cell, exp, linear, observe, relu, sigmoid, tanh, vector


@cell(sizes={"mask": "input", "last": "input", "waited": "input"})
def gru_d(x, mask, gap, /, h, last, waited):
    """GRU-D: what is missing decays from its last value to the mean, so does the state (Che 2018).

    It reads a mask, 1 where a value of x was observed and 0 where it is missing, and the gap, the
    time since the last step, 0 at the first one. Inputs are standardised: the empirical mean, to
    which the paper lets a missing value decay, is 0. Each value decays at a rate of its own, as in
    the paper. How long each has waited for an observation, the paper's δ, is a state here.
    """
    delta = gap + waited  # since each value was observed
    rate, start = vector("decay", size="input"), vector("decay_bias", 0.0, size="input")
    gamma_x = observe("gamma_x", exp(-relu(rate * delta + start)))
    gamma_h = observe("gamma_h", exp(-relu(linear("d", delta, group="decay_h"))))
    last = mask * x + (1 - mask) * last
    x = mask * x + (1 - mask) * (gamma_x * last)
    h = gamma_h * h

    def mapped(gate, state, group):
        total = linear(gate, x, group="ih") + linear(gate, state, bias=False, group=group)
        return total + linear(gate, mask, bias=False)

    r = sigmoid(mapped("r", h, "hh"))
    z = sigmoid(mapped("z", h, "hh"))
    n = tanh(mapped("n", r * h, "rh"))
    return (1 - z) * h + z * n, last, (1 - mask) * delta
