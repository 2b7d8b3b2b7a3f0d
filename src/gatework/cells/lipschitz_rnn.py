"""The Lipschitz RNN (Erichson, Azencot, Queiruga, Hodgkinson & Mahoney 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatework.lang import cell, linear, tanh, weight

if TYPE_CHECKING:
    from torch import Tensor


def _small(rows: int, columns: int) -> Tensor:
    """As the authors' code starts M."""
    import torch  # which takes its time, and is not needed to name a cell

    return torch.randn(rows, columns) / rows


def _balanced(m, h, beta, gamma):
    """((1 - β)(M + Mᵀ) + β(M - Mᵀ) - γI) h: between symmetric, β = 0, and antisymmetric, β = 1."""
    return m(h) + (1 - 2 * beta) * m.T(h) - gamma * h


@cell
def lipschitz_rnn(x, h, *, epsilon=0.03, beta=0.75, gamma=0.001):
    """Lipschitz RNN: a linear part beside the squashed one (Erichson et al. 2021, eq. 1, by Euler).

    β and γ are the same for both matrices, as in the authors' code; ε is the step.
    """
    a, w = (weight(name, init=_small) for name in "aw")
    n = tanh(linear("n", x) + _balanced(w, h, beta, gamma))
    return h + epsilon * (_balanced(a, h, beta, gamma) + n)
