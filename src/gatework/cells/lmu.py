"""The Legendre memory unit (Voelker, Kajić & Eliasmith 2019)."""

from dataclasses import dataclass

import torch

from gatework.lang import cell, linear, tanh, vector, weight


@dataclass(frozen=True)
class _Window:
    """The system whose state holds the last theta steps as Legendre polynomials (eq. 1-2).

    θ ṁ = A m + B u, from step to step exact for an input that stays (zero-order hold).
    """

    theta: float

    def a(self, order: int, _: int) -> torch.Tensor:
        """exp(A/θ)."""
        held: torch.Tensor = torch.linalg.matrix_exp(_generator(order) / self.theta)
        return held

    def b(self, order: int) -> torch.Tensor:
        """A⁻¹ (exp(A/θ) - I) B."""
        moved = self.a(order, order) - torch.eye(order, dtype=torch.float64)
        i = torch.arange(order, dtype=torch.float64)
        entering = (2 * i + 1) * (-1.0) ** i
        held: torch.Tensor = torch.linalg.solve(_generator(order), moved @ entering)
        return held


def _generator(order: int) -> torch.Tensor:
    """A: (2i + 1) times -1 above the diagonal, (-1)^(i - j + 1) elsewhere."""
    i = torch.arange(order, dtype=torch.float64)[:, None]
    j = i.T
    return (2 * i + 1) * torch.where(i < j, -1.0, (-1.0) ** (i - j + 1))


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
