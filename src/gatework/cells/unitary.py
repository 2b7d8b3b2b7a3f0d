"""The unitary evolution RNN (Arjovsky, Shah & Bengio 2016)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gatework.lang import cat, cell, cos, maximum, relu, sin, sqrt, sum, vector, weight

if TYPE_CHECKING:
    from torch import Tensor


def _angles(n: int) -> Tensor:
    return math.pi * _uniform(n)


def _uniform(*shape: int) -> Tensor:
    """Between -1 and 1."""
    import torch  # which takes its time, and is not needed to name a cell

    return 2 * torch.rand(shape) - 1


def _glorot(rows: int, columns: int) -> Tensor:
    return _uniform(rows, columns) * math.sqrt(6 / (rows + columns))


def _turns(rows: int, columns: int) -> Tensor:
    """The angles of the Fourier transform."""
    import torch

    k = torch.arange(rows, dtype=torch.float64)
    return math.tau / rows * (k[:, None] * k % rows)


def _cosines(rows: int, columns: int) -> Tensor:
    return _turns(rows, columns).cos() / math.sqrt(rows)


def _sines(rows: int, columns: int) -> Tensor:
    return _turns(rows, columns).sin() / math.sqrt(rows)


def _permutation(rows: int, columns: int) -> Tensor:
    """A random one, the same in every layer of that size."""
    import torch

    order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
    return torch.eye(rows)[order]


def _phases(name, re, im):
    """D: each number turned by an angle of its own."""
    w = vector(name, _angles)
    return cos(w) * re - sin(w) * im, sin(w) * re + cos(w) * im


def _reflected(name, re, im):
    """R = I - 2 v v*/|v|², the reflection of a complex vector v."""
    a, b = (vector(f"{name}_{part}", _uniform) for part in ("re", "im"))
    size = sum(a * a + b * b)
    along, across = 2 / size * sum(a * re + b * im), 2 / size * sum(a * im - b * re)  # 2 v*z/|v|²
    return re - (a * along - b * across), im - (a * across + b * along)


@cell(output=True)
def urnn(x, re, im):
    """uRNN: a unitary matrix that is made of seven simple ones (Arjovsky et al. 2016, eq. 6 and 8).

    W = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁ turns a state of complex numbers: phases D, reflections R, the
    Fourier transform F and a permutation Π, which all keep its norm. The output is the real and the
    imaginary parts side by side, `2 * hidden` numbers, of which the paper reads a map.
    """
    c, s = (weight(n, init=f, learned=False) for n, f in (("cos", _cosines), ("sin", _sines)))
    swap = weight("swap", init=_permutation, learned=False)
    into_re, into_im = (weight(name, init=_glorot) for name in ("v_re", "v_im"))
    a, b = _phases("d1", re, im)
    a, b = _reflected("r1", c(a) + s(b), c(b) - s(a))  # F = C - iS
    a, b = _phases("d2", swap(a), swap(b))
    a, b = _reflected("r2", c(a) - s(b), c(b) + s(a))  # its inverse, C + iS
    a, b = _phases("d3", a, b)
    a, b = a + into_re(x), b + into_im(x)
    size = sqrt(maximum(a * a + b * b, 1e-10))
    kept = relu(1 + vector("b", 0.0) / size)  # modReLU: the size grows by b, the angle stays
    return cat([kept * a, kept * b]), (kept * a, kept * b)
