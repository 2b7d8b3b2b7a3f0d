"""In what numbers a card computes, and how near the truth that has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatework.bench.checking import WrongResult
from gatework.bench.problem import Named

__all__ = ["PRECISIONS", "Precision", "worst_error"]


@dataclass(frozen=True)
class Precision:
    """What everyone computes in.

    Attributes:
        name: As it is typed and shown.
        dtype: Of weights and input.
        tf32: Whether products of float32 may drop digits.
        tolerance: The largest relative error of a result that counts as right: some ten times
            what torch's own kernels have.
    """

    name: str
    dtype: torch.dtype
    tf32: bool
    tolerance: float

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """What torch's switches are set to meanwhile."""
        switches = (torch.backends.cuda.matmul, torch.backends.cudnn.rnn)
        before = [switch.fp32_precision for switch in switches]
        _set(switches, ["tf32" if self.tf32 else "ieee"] * len(switches))
        try:
            yield
        finally:
            _set(switches, before)


def _set(switches: Sequence[Any], precisions: Sequence[str]) -> None:
    for switch, precision in zip(switches, precisions, strict=True):
        switch.fp32_precision = precision


PRECISIONS = {
    p.name: p
    for p in (
        Precision("fp32", torch.float32, False, 5e-5),
        Precision("tf32", torch.float32, True, 5e-3),
        Precision("bf16", torch.bfloat16, False, 5e-2),
        Precision("fp16", torch.float16, False, 5e-3),
    )
}
"""By name, in the order of the lines."""


def worst_error(found: Named, expected: Named) -> float:
    """The largest relative error of all results: the norm of the difference over the truth's.

    Raises:
        WrongResult: A result has another shape.
    """
    return max(_error(what, value, expected[what]) for what, value in found.items())


def _error(what: str, found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        raise WrongResult(f"{what} has shape {list(found.shape)}, expected {list(expected.shape)}")
    size, off = expected.norm().item(), (found.detach().double() - expected).norm().item()
    return float(off / size) if size else float(off)
