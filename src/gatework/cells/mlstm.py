"""The matrix memory of the xLSTM (Beck et al. 2024)."""

from gatework.lang import (
    abs,
    cell,
    count,
    exp,
    linear,
    logsigmoid,
    maximum,
    observe,
    sigmoid,
    sum,
)


@cell(
    axes={"C": ("head", "key", "value"), "n": ("head", "key"), "m": ("head",)},
    output=True,
)
def mlstm(x, C, n, m):
    """mLSTM: exponential gates and a matrix memory for each head (Beck et al. 2024, eq. 19 to 27).

    `m` keeps the exponentials in range, eq. 15 to 17; the block around it is left to the model.
    """
    q, k = (linear(g, x, size=("head", "key")) for g in "qk")
    v = linear("v", x, size=("head", "value"))
    log_i, log_f = linear("i", x, size="head"), logsigmoid(linear("log_f", x, size="head"))
    o = sigmoid(linear("o", x, size=("head", "value")))
    top = maximum(log_f + m, log_i)  # stabiliser
    i, f = exp(log_i - top), observe("f", exp(log_f + m - top))
    k = k / count("key") ** 0.5
    C = f * C + i * (k * v)
    n = f * n + i * k
    h = sum(q * C, "key") / maximum(abs(sum(q * n, "key")), exp(-top))
    return o * h, (C, n, top)
