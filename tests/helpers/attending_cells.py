"""Cells that read inputs with axes of their own: once for a sequence, and at each step."""

import gatework as gw
from gatework import cell, linear, softmax, tanh


@cell(given={"notes": ("position", "width")})
def decoder(x, notes, /, h):  # Luong et al. 2015, the scaled product
    q = linear("q", h, size="width")
    w = softmax(gw.sum(notes * q, "width") / gw.count("width") ** 0.5, dim="position")
    read = gw.sum(w * notes, "position")
    return tanh(linear("n", x, h) + linear("n", read, group="read"))


@cell(axes={"notes": ("position", "width")}, sizes={"mask": "position"}, given={"key": "width"})
def each_step(x, notes, mask, key, /, h):
    w = softmax(gw.amax(notes, "width") + gw.norm(notes * key, "width"), "position") * mask
    w = gw.cumsum(w, "position") + gw.roll(w, 1)
    return tanh(linear("n", x, h) + linear("r", gw.sum(w * notes, "position"), group="read"))
