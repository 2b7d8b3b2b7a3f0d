"""The operators in a graph, and their derivatives: how recorded calls run forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatework.autograd.operator import forward, job_of, record_backward
from gatework.autograd.saved import saved_tensors
from gatework.autograd.transforms import gradients_of


def run_registered(
    key: str,
    outputs: int,
    states: int,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
) -> tuple[Sequence[Tensor], tuple[Tensor, ...]]:
    """The outputs and the final states of a registered job, so many of each.

    Raises:
        RuntimeError: Under a transform of torch.func: the operators have no rules for them.
    """
    if torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            "a recurrent layer inside a transform of torch.func cannot be compiled; leave the "
            "transform uncompiled, with torch.compiler.disable"
        )
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    # torch.jit.trace checks its record in a run without gradients: it must hold the same
    keep = wanted and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    results = forward(key, list(tensors), lengths, keep)
    return results[:outputs], tuple(results[outputs : outputs + states])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    key, tensors, lengths, ctx.kept = inputs
    program = job_of(key).program
    n_results = len(program.outputs) + len(program.recurrence.states)
    ctx.key, ctx.lengths, ctx.n_results, ctx.n_tensors = key, lengths, n_results, len(tensors)
    ctx.save_for_backward(*tensors, *output[n_results:])


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[None, list[Tensor | None], None, None]:
    saved = saved_tensors(ctx)
    tensors, kept = saved[: ctx.n_tensors], saved[ctx.n_tensors :]
    if not ctx.kept:  # recorded where no gradient was wanted, run where one is
        kept = forward(ctx.key, list(tensors), ctx.lengths, True)[ctx.n_results :]
    of_results = list(gradients[: ctx.n_results])  # nothing but this backward pass reads the kept
    wanted = ctx.needs_input_grad[1]
    if torch.is_grad_enabled():  # the gradient will be differentiated again
        found = gradients_of(job_of(ctx.key), ctx.lengths, tensors, kept, of_results)
        return None, [g if w else None for g, w in zip(found, wanted, strict=True)], None, None
    found = record_backward(ctx.key, tensors, ctx.lengths, kept, of_results, wanted)
    return None, found, None, None


forward.register_autograd(_backward, setup_context=_setup_context)
