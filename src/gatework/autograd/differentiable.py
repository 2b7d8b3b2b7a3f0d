"""A job as one differentiable operation of torch: its program, then the derived backward one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatework.autograd.job import Job, Tensors, run_backward, run_keeping, run_plainly
from gatework.autograd.operator import record_backward, register
from gatework.autograd.saved import saved_tensors
from gatework.autograd.transforms import gradients_of
from gatework.autograd.undisturbed import undisturbed
from gatework.backends import Backend, Call
from gatework.backends.gate import PLAIN, are_watched


def run_numbers(job: Job, tensors: Tensors, lengths: Tensor | None) -> Sequence[Tensor]:
    """The outputs and the final states of a call on numbers.

    Torch's autograd follows a backend that is recorded; else the derived backward pass is its own.
    """
    call = job.call(tensors, lengths)
    backend = job.backend(job.program.forward, call)
    if backend.recorded:
        return run_plainly(job, call, backend)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        run = job, call, backend  # in one: torch looks at every argument
        found: tuple[Tensor, ...] = _Differentiable.apply(run, *tensors)  # type: ignore[no-untyped-call]
        return found
    return run_plainly(job, call, backend)


class _Differentiable(torch.autograd.Function):
    """The forward plan that keeps what is needed, then the derived backward plan."""

    @staticmethod
    def forward(ctx: Any, run: tuple[Job, Call, Backend], *tensors: Tensor | None) -> Any:
        job, call, backend = run
        results, kept = run_keeping(job, call, backend)
        ctx.job, ctx.lengths, ctx.backend, ctx.n_tensors = job, call.lengths, backend, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *undisturbed(_gradients)(ctx, gradients)


def _gradients(ctx: Any, gradients: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradient of each tensor that needs one."""
    saved = saved_tensors(ctx)
    tensors, kept = saved[: ctx.n_tensors], saved[ctx.n_tensors :]
    wanted = ctx.needs_input_grad[1:]
    if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
        filled = ctx.job.filled(tensors)
        found = gradients_of(ctx.job, ctx.lengths, filled, kept, gradients)
        return [g if w else None for g, w in zip(found, wanted, strict=True)]
    if are_watched():
        key, filled = register(ctx.job), ctx.job.filled(tensors)
        return record_backward(key, filled, ctx.lengths, kept, gradients, wanted)
    if torch._C._functorch.is_legacy_batchedtensor(gradients[0]):
        raise RuntimeError(
            "a backward pass cannot run over many gradients with is_grads_batched=True "
            "(vectorize=True of torch.autograd.functional); use torch.func.jacrev or vmap"
        )
    backend = ctx.backend if PLAIN.issuperset(map(type, gradients)) else None
    return run_backward(ctx.job, tensors, ctx.lengths, kept, gradients, wanted, backend)
