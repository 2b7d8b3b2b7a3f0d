"""A cell's call on a card, or on what stands for one, against float64 on the CPU.

What is read is rounded to the dtype first, so that both read the same. How far a result may be off
is told by the reference in that dtype: rounding means more to some cells than to others.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

import gatework as gw
from gatework.lang import Cell
from gatework.lang.expressions import Apply, Reduce, postorder
from numerics import Named, Problem, problem

ALLOWED = {torch.float32: 1e-5, torch.float16: 96 * 2**-11, torch.bfloat16: 32 * 2**-8}
"""What an error may be beside four times the reference's, relative to the norm."""

LEAST = 1e-3  # below such a norm, for each number of a tensor, an error is taken as absolute

BENT = {
    "lt", "le", "where", "minimum", "maximum", "clamp_min", "clamp_max", "abs", "sign", "relu",
    "floor", "hardsigmoid", "surrogate",
}  # fmt: skip


def has_kinks(cell: Cell) -> bool:
    """Whether a rounding can turn a result or a gradient of a cell into another one."""
    nodes = list(postorder(cell.named_values()))
    return any(isinstance(v, Apply) and v.function in BENT for v in nodes) or any(
        isinstance(v, Reduce) and v.function == "max" for v in nodes
    )


def error(found: Tensor, expected: Tensor) -> float:
    """The norm of what is wrong, relative to that of what is right. NaN is never right."""
    if not expected.numel():
        return 0.0
    wrong = (found.detach().double().cpu() - expected.detach().double().cpu()).norm().item()
    scale = max(expected.double().norm().item(), LEAST * expected.numel() ** 0.5)
    return wrong / scale if wrong == wrong else float("inf")


def moved(given: Problem, device: str, dtype: torch.dtype, rounded: torch.dtype) -> Problem:
    """A problem with the same numbers, rounded to a dtype, on a device and in another dtype."""
    tensors = tuple(
        t.detach().to(rounded).to(device, dtype).requires_grad_(t.requires_grad)
        for t in given.tensors
    )
    lengths = None if given.lengths is None else given.lengths.to(device)
    return replace(given, tensors=tensors, lengths=lengths)


def with_gradients(given: Problem, results: Named) -> Named:
    """Results, and the gradients of a weighted sum of them, the same on each device."""
    g = torch.Generator().manual_seed(1)
    terms = []
    for result in results.values():
        weights = torch.randn(result.shape, generator=g).bfloat16()  # which every dtype has
        terms.append((result.double() * weights.to(result.device)).sum())
    sources = given.differentiable()
    found = torch.autograd.grad(sum(terms), list(sources.values()), allow_unused=True)
    pairs = zip(sources.items(), found, strict=True)
    gradients = {f"gradient of {n}": torch.zeros_like(s) if f is None else f for (n, s), f in pairs}
    return {**results, **gradients}


def assert_agrees(cell: Cell, device: str, dtype: torch.dtype, **run) -> None:
    """Outputs, final states and every gradient of the backend `gpu` are those of float64."""
    given = problem(cell, **run)
    here, exact, plain = (
        moved(given, *where, dtype)
        for where in ((device, dtype), ("cpu", torch.float64), ("cpu", dtype))
    )
    with gw.use_backend("gpu"):
        found = with_gradients(here, here.run())
    expected = with_gradients(exact, exact.run_plainly())
    rounded = with_gradients(plain, plain.run_plainly())
    if not all(want.to(dtype).isfinite().all() for want in expected.values()):
        return  # numbers that the dtype has not
    smooth = dtype == torch.float32 or not has_kinks(cell)
    problems = []
    for name, want in expected.items():
        have = found[name]
        allowed = 4 * error(rounded[name], want) + ALLOWED[dtype]
        if have.dtype != dtype or have.shape != want.shape or not have.isfinite().all():
            problems.append(f"{name}: {have.dtype}{list(have.shape)}, or not finite")
        elif smooth and error(have, want) > allowed:
            problems.append(f"{name}: off by {error(have, want):.1e}, {allowed:.1e} is allowed")
    assert not problems, "\n".join(problems)
