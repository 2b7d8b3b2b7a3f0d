"""The recurrent highway network (Zilly, Srivastava, Koutník & Schmidhuber 2017)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def rhn(x, h, *, depth=3):
    """RHN: `depth` highway layers in each step, carry gate 1 - t (Zilly et al. 2017, eq. 6-9)."""
    for k in range(1, depth + 1):
        # the first layer alone sees the input
        values, group = ((x, h), None) if k == 1 else ((h,), f"h{k}")
        n = tanh(linear(f"n{k}", *values, group=group))
        t = sigmoid(linear(f"t{k}", *values, group=group))
        h = n * t + h * (1 - t)
    return h
