"""Random cells in random calls: the CPU backend against the reference, on one to four threads.

Rows are many enough for every way of dividing the work: up to 128 steps of 64 sequences.
"""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import torch
from hypothesis import HealthCheck, Phase, given, settings
from torch import Tensor

import gatework as gw
from gatework.lang import Cell
from gatework.lang.printing import equations
from numerics import Named, flat, randomised, worst_difference
from plain_sizes import plain_sizes
from random_cells import random_cells

TOLERANCE = 1e-7  # in float64: some random cells are chaotic, and runs are long
WORSE = 30  # in float32: how many times the reference's own error is allowed, chaos or not
EXAMPLES = 3  # cells of one seed


@st.composite
def calls(draw) -> dict:
    """The sizes and the options of a call."""
    large = draw(st.booleans())
    steps = draw(st.sampled_from([33, 64, 128] if large else [1, 2, 5]))
    batch = draw(st.sampled_from([1, 3, 31, 64] if large else [0, 1, 2, 7]))
    return {
        "steps": steps,
        "batch": batch,
        "input_size": draw(st.sampled_from([1, 3, 17, 32])),
        "hidden_size": draw(st.sampled_from([1, 5, 16, 63, 64] if large else [1, 4, 9, 33])),
        "lengths": draw(st.none() | st.integers(0, 2**16)),
        "resets": draw(st.sampled_from([None, None, 0.03, 0.5])),
        "bidirectional": draw(st.booleans()),
        "threads": draw(st.integers(1, 4)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
        "seed": draw(st.integers(0, 2**16)),
    }


def attack(seed: int) -> None:
    """Some random cells, in a random call each."""

    @hypothesis.seed(seed)
    @settings(
        max_examples=EXAMPLES, phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(random_cells(further=True), calls())
    def check(cell: Cell, call: dict) -> None:
        assert_backends_agree(cell, **call)

    check()


def assert_backends_agree(cell: Cell, *, threads: int, dtype: torch.dtype, **call) -> None:
    """Outputs, final states and every gradient; the equations are part of what is said."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = _run(cell, "cpu", dtype, **call)
        expected = _run(cell, "reference", torch.float64, **call)
        if dtype == torch.float32:
            other = _run(cell, "reference", dtype, **call)
            allowed = {n: 1e-4 + WORSE * _error(v, expected[n]) for n, v in other.items()}
        else:
            allowed = dict.fromkeys(expected, TOLERANCE)
    finally:
        torch.set_num_threads(before)
    errors = {
        n: _error(v, expected[n])
        for n, v in found.items()
        # in float32 a sum of all rows and units to one number may cancel to nothing
        if v.numel() > 1 or dtype == torch.float64
    }
    wrong = [f"{n}: differs by {e:.1e}" for n, e in errors.items() if not e <= allowed[n]]
    lines = [*wrong, f"{threads} threads, {dtype}, {call}", *equations(cell)]
    assert not wrong, "\n".join(lines)


def _error(found: Tensor, expected: Tensor) -> float:
    return worst_difference(found.double(), expected)


def _run(
    cell: Cell, backend: str, dtype: torch.dtype, *, steps, batch, input_size, hidden_size,
    lengths, resets, bidirectional, seed,
) -> Named:  # fmt: skip
    g = torch.Generator().manual_seed(seed)
    sizes = plain_sizes(cell, hidden_size + 1)
    layer = gw.nn.Recurrent(cell, input_size, hidden_size, bidirectional=bidirectional, **sizes)
    randomised(layer, seed)
    with torch.no_grad():
        for p in layer.parameters():
            p /= max(1.0, p.shape[-1] ** 0.5)
    layer = layer.to(dtype)  # the same numbers in either precision
    x = torch.randn(steps, batch, input_size, generator=g).to(dtype).requires_grad_()
    shapes = {"sequence": (steps, batch), "constant": (batch,)}
    further = {
        s.name: torch.randn(*shapes[s.role], layer.sizes(0)[s.size], generator=g).to(dtype)
        for s in cell.further
    }
    options = {n: v.requires_grad_() for n, v in further.items()}
    if lengths is not None:
        options["lengths"] = torch.randint(0, steps + 1, (batch,), generator=g)
    if resets is not None:
        options["resets"] = torch.rand(steps, batch, generator=g) < resets
    with gw.use_backend(backend):
        results = flat(layer(x, **options), "result")
        sources = {"input": x, **further, **dict(layer.named_parameters())}
        return {**results, **_gradients(results, sources)}


def _gradients(results: Named, sources: Named) -> Named:
    """Those of a weighted sum that is the same in either precision."""
    total = sum((v.double() * v.detach().double().cos()).sum() for v in results.values())
    found = torch.autograd.grad(total, list(sources.values()), allow_unused=True)
    return {
        f"gradient of {n}": torch.zeros_like(s) if f is None else f
        for (n, s), f in zip(sources.items(), found, strict=True)
    }
