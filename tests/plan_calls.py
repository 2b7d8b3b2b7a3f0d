"""Random tensors for the plans of a cell, and the comparison of two backends on them.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

import torch

from gatework.backends import Call, Result
from gatework.backends.reference import Reference
from gatework.compiler.plan import Plan
from gatework.compiler.program import program

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def all_sizes(cell, input_size, hidden_size):
    """The sizes of a cell; those it names itself are a little larger than the hidden size."""
    own = {n: hidden_size + 3 * k for k, n in enumerate(cell.size_names(), 1)}
    return {"1": 1, "input": input_size, "hidden": hidden_size, **own}


def random_call(plan: Plan, shape, sizes, dtype, seed=0, **options) -> Call:
    """A call with random tensors of every kind that the plan reads."""
    g = torch.Generator().manual_seed(seed)
    recurrence, (steps, batch) = plan.recurrence, shape

    def normal(*dims):
        return torch.randn(dims, generator=g, dtype=torch.float64).to(dtype)

    return Call(
        shape=shape,
        sizes=sizes,
        sequences={s.name: normal(steps, batch, sizes[s.size]) for s in recurrence.sequences},
        states=tuple(normal(batch, sizes[s.size]) for s in recurrence.states),
        parameters={
            p.name: normal(*p.shape(sizes)) / sizes["hidden"] ** 0.5 for p in recurrence.parameters
        },
        constants={s.name: normal(batch, sizes[s.size]) for s in recurrence.constants},
        **options,
    )


def backward_call(cell, forward: Call, kept: Result, **options) -> Call:
    """A call of the backward plan, with what the forward pass kept and random gradients."""
    plan = program(cell).backward
    known = {**forward.sequences, **kept.outputs}
    call = random_call(
        plan, forward.shape, forward.sizes, forward.states[0].dtype, seed=1,
        lengths=forward.lengths, reverse=not forward.reverse, **options,
    )  # fmt: skip
    call.sequences.update({n: known[n] for n in call.sequences if n in known})
    call.parameters.update(forward.parameters)
    call.constants.update({n: forward.constants[n] for n in call.constants})
    return call


def assert_same(found: Result, expected: Result, tolerance: float) -> None:
    """Every output, final state and gradient is equal up to the tolerance."""
    compare("outputs", found.outputs, expected.outputs, tolerance)
    compare("gradients", found.gradients, expected.gradients, tolerance)
    states = (dict(enumerate(r.states)) for r in (found, expected))
    compare("states", *states, tolerance)


def compare(kind, found, expected, tolerance) -> None:
    """Two groups of named tensors are equal up to the tolerance, relative to the largest value."""
    assert set(found) == set(expected), kind
    for name, want in expected.items():
        scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
        torch.testing.assert_close(
            found[name],
            want,
            rtol=0,
            atol=tolerance * scale,
            msg=lambda m, n=name: f"{kind} {n}: {m}",
        )


def assert_plans_agree(backend, cell, shape, sizes, dtype, lengths=None, reverse=False) -> None:
    """All three plans of a cell give what the reference gives."""
    plans, reference, tolerance = program(cell), Reference(), TOLERANCE[dtype]
    options = {"lengths": lengths, "reverse": reverse}
    call = random_call(plans.forward, shape, sizes, dtype, **options)
    assert_same(backend.run(plans.forward, call), reference.run(plans.forward, call), tolerance)
    kept = reference.run(plans.keeping, call)
    assert_same(backend.run(plans.keeping, call), kept, tolerance)
    back = backward_call(cell, call, kept)
    assert_same(backend.run(plans.backward, back), reference.run(plans.backward, back), tolerance)
