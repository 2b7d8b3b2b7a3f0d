"""The neural Turing machine (Graves, Wayne & Danihelka 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatework.lang import (
    cell,
    linear,
    log,
    maximum,
    norm,
    observe,
    sigmoid,
    softmax,
    softplus,
    split,
    sum,
    tanh,
    vector,
    weight,
)

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-16  # of an address that is rounded to 0, which has no logarithm


def _following(rows: int, columns: int) -> Tensor:
    """Each slot to the one after it, the last to the first."""
    import torch

    return torch.eye(rows).roll(1, 0)


@cell(axes={"w": ("slot",), "M": ("slot", "width")})
def ntm(x, h, c, w, M, *, eps=1e-3):
    """NTM: an LSTM that reads and writes a memory by content and by place (Graves et al. 2014).

    Equations 2 to 9 with one head, which erases, writes and reads at the same place, and shifts of
    one slot. The layer is given how many slots the memory has and how wide they are. The memory
    starts at M₀, which is learned; the state M is what has been written over it.

    Args:
        eps: What is added to the norms, so that a slot that is empty is like nothing.
    """
    start = vector("M_0", size=("slot", "width"))
    M = start + M
    r = observe("r", sum(w * M, "slot"))  # eq. 2, what was read at the step before
    i, f, o = (sigmoid(linear(gate, x, h, r, group="rh")) for gate in "ifo")
    c = f * c + i * tanh(linear("n", x, h, r, group="rh"))
    h = o * tanh(c)

    def head(name, size="1"):
        return linear(name, h, size=size, group="heads")

    k, beta = observe("k", head("k", "width")), softplus(head("beta"))
    alike = sum(k * M, "width") / (norm(k) * norm(M, "width") + eps)  # eq. 6
    content = observe("content", softmax(beta * alike, "slot"))  # eq. 5
    g = sigmoid(head("g"))
    w = g * content + (1 - g) * w  # eq. 7
    back, stay, on = split(softmax(head("s", "3")), ["1", "1", "1"])
    follow = weight("follow", size="slot", init=_following, learned=False)
    w = on * follow(w) + stay * w + back * follow.T(w)  # eq. 8
    gamma = 1 + softplus(head("gamma"))
    w = softmax(gamma * log(maximum(w, TINY)), "slot")  # eq. 9: w to the power of γ, over its sum
    M = M * (1 - w * sigmoid(head("e", "width"))) + w * head("a", "width")  # eq. 3 and 4
    return h, c, w, M - start
