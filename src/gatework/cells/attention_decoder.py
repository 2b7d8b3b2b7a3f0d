"""The decoder that attends to what it translates (Bahdanau, Cho & Bengio 2015)."""

from gatework.lang import cell, linear, observe, sigmoid, softmax, sum, tanh, vector, weight, where

OUTSIDE = -1e30  # the energy of what is not there


@cell(
    given={
        "keys": ("position", "align"),
        "annotations": ("position", "width"),
        "mask": ("position",),
    }
)
def attention_decoder(x, keys, annotations, mask, /, h):
    """RNNsearch's decoder: a GRU that reads a mean of annotations (Bahdanau et al. 2015, app. A).

    It reads once for a sequence: the annotations of the source, one at each position; their `keys`,
    Uₐ of them, which the model computes once, as the paper has it; and a mask, 1 where the source
    has a position. The layer is given the number of positions, the width of the annotations and the
    size `align` of the alignment model. x is the word before, embedded; h is the paper's s.
    """
    v_a, w_a = vector("v_a", size="align"), weight("w_a", size="align")
    e = sum(v_a * tanh(w_a(h) + keys), "align")
    alpha = observe("alpha", softmax(where(mask > 0, e, OUTSIDE), "position"))
    context = observe("context", sum(alpha * annotations, "position"))

    def mapped(gate, state, group=None):
        total = linear(gate, x) + linear(gate, state, bias=False, group=group)
        return total + linear(gate, context, bias=False, group="ch")

    z, r = sigmoid(mapped("z", h)), sigmoid(mapped("r", h))
    n = tanh(mapped("n", r * h, "rh"))
    return (1 - z) * h + z * n
