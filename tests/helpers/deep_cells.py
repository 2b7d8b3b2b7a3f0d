"""Cells of which a gradient is complete only after the loop, and read there by others."""

import gatework as gw
from gatework import cell, linear, tanh


@cell
def map_of_a_map(x, h):
    return tanh(linear("b", tanh(linear("a", x))) + linear("c", h))


@cell
def map_of_a_map_of_a_map(x, h):
    a = tanh(linear("a", x))
    return tanh(linear("c", tanh(linear("b", a))) + linear("d", a, group="da") + linear("e", h))


@cell
def norm_of_a_map(x, h):
    a = linear("a", x)
    return tanh(linear("b", a / gw.sqrt(gw.sum(a * a) + 1)) + linear("c", h))


@cell
def layer_norm_of_a_map(x, h):
    a = gw.layer_norm(tanh(linear("a", x)), "norm")
    return tanh(linear("b", a) + linear("c", h))


@cell
def softmax_of_a_map(x, h):
    return tanh(linear("b", gw.softmax(linear("a", x))) * gw.vector("p", 0.5) + linear("c", h))


DEEP_CELLS = {
    c.name: c
    for c in (
        map_of_a_map,
        map_of_a_map_of_a_map,
        norm_of_a_map,
        layer_norm_of_a_map,
        softmax_of_a_map,
    )
}
