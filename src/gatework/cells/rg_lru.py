"""The real-gated linear recurrent unit of Hawk and Griffin (De et al. 2024)."""

from gatework.lang import cell, exp, expm1, linear, sigmoid, softplus, sqrt, vector


@cell
def rg_lru(x, h):
    """RG-LRU: a gated linear recurrence that keeps the state's scale (De et al. 2024, eq. 1-4).

    The paper's block maps the input before the unit; that map is `v` here.
    """
    r = sigmoid(linear("r", x))  # recurrence gate
    i = sigmoid(linear("i", x))  # input gate
    log_a = -8 * softplus(vector("decay", -5.0)) * r
    return exp(log_a) * h + sqrt(-expm1(2 * log_a)) * (i * linear("v", x))
