"""The sLSTM, the scalar memory of the xLSTM (Beck et al. 2024)."""

from gatework.lang import cell, exp, linear, logsigmoid, maximum, observe, sigmoid, tanh, where


@cell
def slstm(x, h, c, n, m):
    """LSTM with an exponential input gate, normalised by n (Beck et al. 2024, eq. 8-17).

    c and n are kept divided by exp(m), so that they stay in range; c / n is the same. While n is 0,
    nothing is held. The paper's recurrent matrices are block-diagonal, one block a head, as those
    of `slstm_heads`; here full.
    """
    log_i = linear("i", x, h)
    log_f = logsigmoid(linear("log_f", x, h))
    z = tanh(linear("z", x, h))
    o = sigmoid(linear("o", x, h))
    held = where(n > 0, log_f + m, log_i)
    m = maximum(held, log_i)  # stabiliser
    i = exp(log_i - m)
    f = observe("f", exp(held - m))
    c, n = f * c + i * z, f * n + i
    return o * (c / n), c, n, m


@cell(axes=dict.fromkeys("hcnm", ("head", "unit")))
def slstm_heads(x, h, c, n, m):
    """sLSTM of several heads, each of which sees its own state alone (Beck et al. 2024, eq. 8-17).

    The recurrent matrices are block-diagonal, one block a head, as in the paper; each head reads
    the whole input. The norm of the heads' output and the convolution before them are the block's.
    """
    log_i = linear("i", x, h, per="head")
    log_f = logsigmoid(linear("log_f", x, h, per="head"))
    z = tanh(linear("z", x, h, per="head"))
    o = sigmoid(linear("o", x, h, per="head"))
    held = where(n > 0, log_f + m, log_i)
    m = maximum(held, log_i)  # stabiliser
    i = exp(log_i - m)
    f = observe("f", exp(held - m))
    c, n = f * c + i * z, f * n + i
    return o * (c / n), c, n, m
