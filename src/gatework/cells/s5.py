"""The simplified state space layer (Smith, Warrington & Linderman 2023)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gatework.lang import cell, cos, exp, linear, sin, vector

if TYPE_CHECKING:
    from torch import Tensor


def _turning(units: int) -> Tensor:
    """The imaginary parts of HiPPO-N's eigenvalues, of each conjugate pair the positive one.

    HiPPO-N is -1/2 and, off the diagonal, antisymmetric, so the real parts are all -1/2.
    """
    import torch  # which takes its time, and is not needed to name a cell

    root = (2 * torch.arange(2 * units, dtype=torch.float64) + 1).sqrt()
    lower = torch.tril(torch.outer(root, root) / 2, -1)
    turning: Tensor = torch.linalg.eigvalsh(1j * (lower - lower.T))[units:]
    return turning


def _steps(units: int) -> list[float]:
    """log Δ: the steps cover 0.001 to 0.1, where the paper draws them."""
    return [math.log(0.001) + (k + 0.5) / units * math.log(100) for k in range(units)]


@cell(output=True)
def s5(x, re, im):
    """S5: one state space for all inputs, its matrix diagonal (Smith et al. 2023, section 3).

    s' = λ̄ s + (λ̄ - 1) / λ B x with λ̄ = exp(λ Δ), y = 2 Re(C s') + D x. Each complex number stands
    for a conjugate pair. The function of the output is the block's.
    """
    step = exp(vector("log_step", _steps))
    rate, turn = -exp(vector("log_rate", math.log(0.5))), vector("turn", _turning)  # λ
    size = exp(rate * step)
    bar_re, bar_im = size * cos(turn * step), size * sin(turn * step)
    norm = rate * rate + turn * turn
    in_re = ((bar_re - 1) * rate + bar_im * turn) / norm
    in_im = (bar_im * rate - (bar_re - 1) * turn) / norm
    b_re, b_im = (linear(g, x, bias=False) for g in ("b_re", "b_im"))
    new_re = bar_re * re - bar_im * im + in_re * b_re - in_im * b_im
    new_im = bar_im * re + bar_re * im + in_im * b_re + in_re * b_im
    c_re = linear("c_re", new_re, bias=False, size="input")
    c_im = linear("c_im", new_im, bias=False, size="input")
    return 2 * (c_re - c_im) + vector("d", 1.0, size="input") * x, (new_re, new_im)
