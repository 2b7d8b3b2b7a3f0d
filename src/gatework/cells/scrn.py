"""The structurally constrained recurrent network (Mikolov et al. 2015)."""

from gatework.lang import cell, linear, sigmoid


@cell(output=True)
def scrn(x, h, s, *, alpha=0.95):
    """SCRN: context units s that change slowly beside the hidden h (Mikolov et al. 2015, eq. 3-5).

    The output is U h + V s; the paper's softmax over it is left to the model.
    """
    s = (1 - alpha) * linear("b", x, bias=False) + alpha * s
    h = sigmoid(linear("h", x, h) + linear("h", s, group="sh"))
    return linear("y", h, group="hy") + linear("y", s, group="sh"), (h, s)
