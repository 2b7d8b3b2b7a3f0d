"""Calls that are not plain: under torch.func, in forward mode, without memory, on other devices.

A plain call runs a kernel and, at most, its derived backward pass. These take another way:

    in forward mode (`torch.func.jvp`, dual numbers)    the reference backend, which torch follows
    under another transform of `torch.func`             `gatework.nn.transforms`
    on the meta device, with tensors without memory     the operators of `gatework.nn.operator`
    by torch's own kernels                              torch's own autograd
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatework.backends import Backend, chosen, select
from gatework.backends.reference import Reference
from gatework.nn.differentiable import Job, run_numbers
from gatework.nn.operator import register, run_registered
from gatework.nn.transforms import run_transformed
from gatework.nn.undisturbed import undisturbed

PLAIN = (Tensor, torch.nn.Parameter)


def run_specially(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    """The outputs and the final states of a call that is not plain."""
    results: Sequence[Tensor] = undisturbed(_run_specially)(job, tensors, lengths)
    return results


def _run_specially(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    x = tensors[0]
    if forward_ad._current_level >= 0:
        return _by_reference(job, tensors, lengths)
    if torch._C._are_functorch_transforms_active():
        return run_transformed(job, tensors, lengths)
    if x.is_meta or type(x) not in PLAIN:
        counts = len(job.program.outputs), len(job.program.recurrence.states)
        outputs, final = run_registered(register(job), *counts, tensors, lengths)
        return [*outputs, *final]
    backend = select(job.program.forward, job.call(tensors, lengths))
    if backend.recorded:
        return _results(job, backend, tensors, lengths)
    return run_numbers(job, tensors, lengths)


def _by_reference(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    """The forward plan as torch operations, which carry their own derivatives."""
    if chosen() not in (None, "reference"):
        raise RuntimeError(
            f"the backend {chosen()!r} cannot run {job.program.cell.name} in forward mode "
            "(torch.func.jvp, dual numbers); the reference backend can"
        )
    return _results(job, Reference(), tensors, lengths)


def _results(
    job: Job, backend: Backend, tensors: Sequence[Tensor], lengths: Tensor | None
) -> Sequence[Tensor]:
    result = backend.run(job.program.forward, job.call(tensors, lengths))
    return [*result.outputs, *result.states]
