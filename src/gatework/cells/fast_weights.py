"""A recurrent network whose state is pulled towards what it was a short while ago."""

from gatework.lang import cell, layer_norm, linear, relu, rename, sum


@cell(axes={"h": ("unit",), "A": ("unit", "other")})
def fast_weights(x, h, A, *, rate=0.5, decay=0.95, steps=1):
    """Fast weights: a matrix of recent outer products of the state (Ba et al. 2016, eq. 1, 2, 5).

    Within a step the state settles under them, `steps` times, with one layer norm for all.
    """
    A = decay * A + rate * h * rename(h, unit="other")
    slow = linear("slow", x, h, size="unit")
    h = relu(slow)
    for _ in range(steps):
        recalled = sum(A * rename(h, unit="other"), dim="other")
        h = relu(layer_norm(slow + recalled, "norm", dim="unit"))
    return h, A
