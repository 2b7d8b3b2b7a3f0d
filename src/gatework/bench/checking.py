"""Nothing is timed before it computes the same as the rest."""

from __future__ import annotations

from torch import Tensor

from gatework.bench.peers.python_loop import plain_loop
from gatework.bench.peers.torch_nn import torch_layer
from gatework.bench.problem import Kind, Named, Problem

__all__ = ["TOLERANCE", "WrongResult", "check", "truth"]

TOLERANCE = 2e-5
"""Largest difference of float32 results from the truth, relative to the largest value or to 1."""


class WrongResult(Exception):
    """Someone computes something else."""


def truth(problem: Problem, kind: Kind) -> Named:
    """The results in float64: by torch.nn where it has the cell, else by the reference."""
    double = problem.double()
    layer = torch_layer(double)
    output = plain_loop(double) if layer is None else layer(double.x)[0]
    if kind != "training":
        return {"output": output.detach()}
    learned = double.layer if layer is None else layer
    gradients = double.gradients(output, [double.x, *learned.parameters()])
    return {"output": output.detach(), **double.named(gradients)}


def check(name: str, found: Named, expected: Named) -> None:
    """Compare what someone found with the truth.

    Raises:
        WrongResult: a result differs in shape or by more than the tolerance, or is not a number.
    """
    for what, value in found.items():
        want = expected[what]
        if value.shape != want.shape:
            raise WrongResult(
                f"{name}: {what} has shape {list(value.shape)}, expected {list(want.shape)}"
            )
        worst = _difference(value, want)
        if not worst <= TOLERANCE:
            raise WrongResult(f"{name}: {what} differs by {worst:.1e}, allowed is {TOLERANCE:g}")


def _difference(found: Tensor, expected: Tensor) -> float:
    scale = max(1.0, expected.abs().max().item())
    return (found.detach().double() - expected).abs().max().item() / scale
