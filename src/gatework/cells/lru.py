"""The linear recurrent unit (Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023)."""

import math
from dataclasses import dataclass

import torch

from gatework.lang import cell, cos, exp, linear, sin, vector, weight


@dataclass(frozen=True)
class _Ring:
    """Where the eigenvalues start: evenly over the area of a ring, or of a sector of it.

    The paper draws them from that distribution (lemma 3.2); here the units cover it, each the n-th
    part, their phases by the golden ratio.
    """

    r_min: float
    r_max: float
    max_phase: float

    def nu(self, n: int) -> torch.Tensor:
        """log ν of |λ| = exp(-ν)."""
        return torch.log(-torch.log(self._radius(n)))

    def theta(self, n: int) -> torch.Tensor:
        """log θ of the phase θ."""
        share = (0.5 + 0.6180339887498949 * torch.arange(n, dtype=torch.float64)) % 1
        return torch.log(self.max_phase * share)

    def gamma(self, n: int) -> torch.Tensor:
        """log γ of the norm γ = √(1 - |λ|²), with which the state is as large as what enters."""
        return 0.5 * torch.log1p(-(self._radius(n) ** 2))

    def _radius(self, n: int) -> torch.Tensor:
        share = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        return torch.sqrt(self.r_min**2 + share * (self.r_max**2 - self.r_min**2))


def _into(rows: int, columns: int) -> torch.Tensor:
    """B: as Glorot, halved for the real and the imaginary part."""
    return torch.randn(rows, columns) / math.sqrt(2 * columns)


def _out_of(rows: int, columns: int) -> torch.Tensor:
    """C: as Glorot."""
    return torch.randn(rows, columns) / math.sqrt(columns)


@cell(output=True)
def lru(x, re, im, *, r_min=0.0, r_max=1.0, max_phase=math.tau):
    """LRU: complex numbers that turn and decay, and a map of them (Orvieto et al. 2023, app. A).

    s' = λ s + γ B x with λ = exp(-ν + iθ), y = Re(C s') + D x. D is a matrix, as in eq. 1; that of
    the authors' code is a diagonal, for an output of the input's size.
    """
    ring = _Ring(r_min, r_max, max_phase)
    decay, phase = exp(-exp(vector("nu", ring.nu))), exp(vector("theta", ring.theta))
    turn_re, turn_im = decay * cos(phase), decay * sin(phase)
    norm = exp(vector("gamma", ring.gamma))
    b_re, b_im = (weight(name, init=_into) for name in ("b_re", "b_im"))
    c_re, c_im = (weight(name, init=_out_of) for name in ("c_re", "c_im"))
    new_re = turn_re * re - turn_im * im + norm * b_re(x)
    new_im = turn_im * re + turn_re * im + norm * b_im(x)
    return c_re(new_re) - c_im(new_im) + linear("d", x, bias=False), (new_re, new_im)
