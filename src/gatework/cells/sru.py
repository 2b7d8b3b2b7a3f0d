"""The simple recurrent unit (Lei, Zhang, Wang, Dai & Artzi 2018)."""

from gatework.lang import cell, linear, sigmoid, vector


@cell(output=True)
def sru(x, c):
    """SRU: no recurrent matrix; the output is a highway past the memory (Lei et al. 2018, eq. 1-4).

    The highway carries a map of the input, as the authors' code does where sizes differ.
    """
    f = sigmoid(linear("f", x) + vector("peephole_f") * c)
    r = sigmoid(linear("r", x) + vector("peephole_r") * c)  # reset gate, of the highway
    c = f * c + (1 - f) * linear("g", x, bias=False)
    return r * c + (1 - r) * linear("p", x, bias=False), c
