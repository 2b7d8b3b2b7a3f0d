"""A job as one differentiable operation of torch: its program, then the derived backward one.

A backend that torch's autograd follows has gradients of its own, which need not have any: cuDNN's
have none. So its run is one operation too, recorded apart, and a gradient that is to be
differentiated again is the derived one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatework.autograd.job import Job, Tensors, run_backward, run_keeping, run_plainly
from gatework.autograd.operator import record_backward, register
from gatework.autograd.saved import saved_tensors
from gatework.autograd.transforms import gradients_of, keeping
from gatework.autograd.undisturbed import undisturbed
from gatework.backends import Backend, Call, use_any
from gatework.backends.gate import PLAIN, are_watched


def run_numbers(job: Job, tensors: Tensors, lengths: Tensor | None) -> Sequence[Tensor]:
    """The outputs and the final states of a call on numbers."""
    call = job.call(tensors, lengths)
    backend = job.backend(job.program.forward, call)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        run = job, call, backend  # in one: torch looks at every argument
        function = _Recorded if backend.recorded else _Differentiable
        found: tuple[Tensor, ...] = function.apply(run, *tensors)  # type: ignore[no-untyped-call]
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


class _Recorded(torch.autograd.Function):
    """A run that torch's autograd follows in a graph of its own, then backward through that graph.

    The graph hangs on saved tensors alone, so it is freed when those of the graph around it are.
    """

    @staticmethod
    def forward(ctx: Any, run: tuple[Job, Call, Backend], *tensors: Tensor | None) -> Any:
        job, call, backend = run
        wanted = ctx.needs_input_grad[1:]
        pairs = zip(tensors, wanted, strict=True)
        own = [t if t is None else t.detach().requires_grad_(w) for t, w in pairs]
        with torch.enable_grad():
            results = run_plainly(job, job.call(own, call.lengths), backend)
        ctx.job, ctx.lengths, ctx.n_tensors = job, call.lengths, len(tensors)
        ctx.save_for_backward(*tensors, *own, *results)
        return tuple(r.detach().clone() for r in results)  # which a caller may change in place

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *undisturbed(_recorded_gradients)(ctx, gradients)


def _recorded_gradients(ctx: Any, gradients: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradient of each tensor that needs one: the backend's, or one with gradients itself."""
    saved, n, wanted = saved_tensors(ctx), ctx.n_tensors, ctx.needs_input_grad[1:]
    tensors, own, results = saved[:n], saved[n : 2 * n], saved[2 * n :]
    if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
        with use_any():  # of its backward plan the backend knows nothing
            filled = ctx.job.filled(tensors)
            with torch.no_grad():
                kept = keeping(ctx.job, filled, ctx.lengths)[1]
            derived = gradients_of(ctx.job, ctx.lengths, filled, kept, gradients)
        return [g if w else None for g, w in zip(derived, wanted, strict=True)]
    sources = [t for t, w in zip(own, wanted, strict=True) if w]
    found = iter(torch.autograd.grad(results, sources, gradients, retain_graph=True))
    return [next(found) if w else None for w in wanted]
