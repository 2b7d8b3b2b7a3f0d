"""The linear recurrent unit (Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatework.lang import cell, cos, exp, linear, sin, vector, weight

if TYPE_CHECKING:
    from torch import Tensor

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class _Ring:
    """Where the eigenvalues start: evenly over the area of a ring, or of a sector of it.

    The paper draws them from that distribution (lemma 3.2); here the units cover it, each the n-th
    part, their phases by the golden ratio.
    """

    r_min: float
    r_max: float
    max_phase: float

    def nu(self, n: int) -> list[float]:
        """log ν of |λ| = exp(-ν)."""
        return [math.log(-math.log(r)) for r in self._radii(n)]

    def theta(self, n: int) -> list[float]:
        """log θ of the phase θ."""
        return [math.log(self.max_phase * ((0.5 + GOLDEN * k) % 1)) for k in range(n)]

    def gamma(self, n: int) -> list[float]:
        """log γ of the norm γ = √(1 - |λ|²), with which the state is as large as what enters."""
        return [0.5 * math.log1p(-(r**2)) for r in self._radii(n)]

    def _radii(self, n: int) -> list[float]:
        inner, outer = self.r_min**2, self.r_max**2
        return [math.sqrt(inner + (k + 0.5) / n * (outer - inner)) for k in range(n)]


def _into(rows: int, columns: int) -> Tensor:
    """B: as Glorot, halved for the real and the imaginary part."""
    return _normal(rows, columns) / math.sqrt(2 * columns)


def _out_of(rows: int, columns: int) -> Tensor:
    """C: as Glorot."""
    return _normal(rows, columns) / math.sqrt(columns)


def _normal(rows: int, columns: int) -> Tensor:
    import torch  # which takes its time, and is not needed to name a cell

    return torch.randn(rows, columns)


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
