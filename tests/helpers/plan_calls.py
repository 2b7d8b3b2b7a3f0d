"""Random tensors for the plans of a cell, and the comparison of two backends on them.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

import torch

from gatework.backends import Call, Result
from gatework.backends.reference import Reference
from gatework.compiler.plan import Plan
from gatework.compiler.program import program
from gatework.lang.sizes import Sizes
from plain_sizes import divisible, unlike_axes

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def all_sizes(cell, input_size, hidden_size):
    """The sizes of a cell; those it names itself are a little larger than the hidden size."""
    input_size = divisible(cell, "input", input_size)
    hidden_size = divisible(cell, "hidden", hidden_size)
    own = {n: hidden_size + 3 * k for k, n in enumerate(cell.size_names(), 1)}
    own |= unlike_axes(cell, 3)
    return Sizes.of({"1": 1, "input": input_size, "hidden": hidden_size, **own})


def random_call(plan: Plan, shape, sizes, dtype, seed=0, **options) -> Call:
    """A call with random tensors of every kind that the plan reads."""
    g = torch.Generator().manual_seed(seed)
    recurrence, (steps, batch) = plan.recurrence, shape

    def normal(*dims):
        return torch.randn(dims, generator=g, dtype=torch.float64).to(dtype)

    rows = (*recurrence.constants, *recurrence.states)
    tensors = [
        *(
            normal(recurrence.length(s.name, steps), batch, sizes[s.size])
            for s in recurrence.sequences
        ),
        *(normal(batch, sizes[s.size]) for s in rows),
        *(normal(*p.shape(sizes)) / sizes["hidden"] ** 0.5 for p in recurrence.parameters),
    ]
    return Call(shape, sizes, tensors, **options)


def named(plan: Plan, call: Call) -> dict[tuple[str, str], torch.Tensor]:
    """The tensors of a call by role and name."""
    return dict(zip(plan.recurrence.reads, call.tensors, strict=True))


def changed(plan: Plan, call: Call, new: dict[tuple[str, str], torch.Tensor]) -> Call:
    """The call with some of its tensors exchanged, by role and name."""
    assert new.keys() <= set(plan.recurrence.reads)
    return call._replace(tensors=list((named(plan, call) | new).values()))


def backward_call(cell, forward: Call, kept: Result, marking=False, **options) -> Call:
    """A call of the backward plan, with what the forward pass kept and random gradients."""
    plans = program(cell, marking=marking)
    plan, keeping = plans.backward, plans.keeping
    written = (("sequence", n) for n in keeping.recurrence.outputs)
    known = {**named(keeping, forward), **dict(zip(written, kept.outputs, strict=True))}
    call = random_call(
        plan, forward.shape, forward.sizes, forward.tensors[0].dtype, seed=1,
        lengths=forward.lengths, reverse=not forward.reverse, **options,
    )  # fmt: skip
    return changed(plan, call, {n: known[n] for n in plan.recurrence.reads if n in known})


def assert_same(found: Result, expected: Result, tolerance: float) -> None:
    """Every output, final state and gradient is equal up to the tolerance."""
    for kind in Result._fields:
        compare(kind, getattr(found, kind), getattr(expected, kind), tolerance)


def compare(kind, found, expected, tolerance) -> None:
    """Two lists of tensors are equal up to the tolerance, relative to the largest value."""
    for k, (have, want) in enumerate(zip(found, expected, strict=True)):
        if want is None:
            assert have is None, f"{kind} {k}"
            continue
        scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
        message = f"{kind} {k}: {{}}".format
        torch.testing.assert_close(have, want, rtol=0, atol=tolerance * scale, msg=message)


def assert_plans_agree(
    backend, cell, shape, sizes, dtype, lengths=None, reverse=False, marking=False, tolerance=None
) -> None:
    """All three plans of a cell give what the reference gives."""
    plans, reference = program(cell, marking=marking), Reference()
    tolerance = tolerance or TOLERANCE[dtype]
    options = {"lengths": lengths, "reverse": reverse}
    call = random_call(plans.forward, shape, sizes, dtype, **options)
    assert_same(backend.run(plans.forward, call), reference.run(plans.forward, call), tolerance)
    kept = reference.run(plans.keeping, call)
    own = backend.run(plans.keeping, call)
    assert_same(own, kept, tolerance)
    # Each from what it kept itself: by a rounding, the largest of a row is no longer in it.
    found = backend.run(plans.backward, backward_call(cell, call, own, marking))
    expected = reference.run(plans.backward, backward_call(cell, call, kept, marking))
    assert_same(found, expected, tolerance)
