"""The Legendre memory unit (Voelker, Kajić & Eliasmith 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatework.lang import cell, linear, tanh, vector, weight

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Window:
    """The system whose state holds the last theta steps as Legendre polynomials (eq. 1-2).

    θ ṁ = A m + B u, from step to step exact for an input that stays (zero-order hold): exp of the
    system whose last state is the input.
    """

    theta: float

    def a(self, order: int, _: int) -> Tensor:
        """exp(A/θ)."""
        return self._held(order)[:order, :order]

    def b(self, order: int) -> Tensor:
        """A⁻¹ (exp(A/θ) - I) B."""
        return self._held(order)[:order, order]

    def _held(self, order: int) -> Tensor:
        import torch  # which takes its time, and is not needed to name a cell

        rows = [[*_row(i, order), (2 * i + 1) * (-1) ** i] for i in range(order)]
        system = torch.tensor([*rows, [0] * (order + 1)], dtype=torch.float64)
        held: Tensor = torch.linalg.matrix_exp(system / self.theta)
        return held


def _row(i: int, order: int) -> list[int]:
    """Row i of A."""
    return [(2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(order)]


@cell(sizes={"m": "order"})
def lmu(x, h, m, *, theta=100.0):
    """LMU: m holds the last theta steps of one signal u (Voelker et al. 2019, eq. 1-2, 4, 6-7).

    A and B are known; the layer is given the order, how many Legendre polynomials m has.
    """
    window = _Window(theta)
    a = weight("a", size="order", init=window.a, learned=False)
    b = vector("b", window.b, size="order", learned=False)
    u = linear("u", x, h, m, size="1", bias=False)
    m = a(m) + b * u
    h = linear("n", x, h, bias=False) + linear("n", m, bias=False, group="nm")
    return tanh(h), m
