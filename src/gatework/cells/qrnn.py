"""The quasi-recurrent network (Bradbury, Merity, Xiong & Socher 2017)."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell(output=True)
def qrnn(x, c, vz, vf, vo):
    """QRNN with filters of width two and fo-pooling (Bradbury et al. 2017, eq. 2, 4).

    The states vz, vf and vo keep what the input says to the next step.
    """
    z = tanh(linear("z", x) + vz)
    f = sigmoid(linear("f", x) + vf)
    o = sigmoid(linear("o", x) + vo)
    c = f * c + (1 - f) * z
    return o * c, (c, *(linear(name, x, bias=False) for name in ("vz", "vf", "vo")))
