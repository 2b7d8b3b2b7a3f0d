"""What runs a layer, and how: the last section of `gatework.explain`.

Legend: T steps, B sequences, n the size of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatework.autograd.job import Job
from gatework.autograd.operator import empty_results
from gatework.backends import Backend, Call, reasons, select
from gatework.compiler.plan import Plan
from gatework.nn.parameters import own_parameters
from gatework.nn.precision import precision_of, within

if TYPE_CHECKING:
    from gatework.nn.recurrent import Recurrent


@torch.no_grad()
def backends_of(layer: Recurrent, steps: int, batch_size: int) -> list[str]:
    """Which backend runs the lowest layer forward and why, and how it is trained, a line each."""
    jobs = layer._stack[0][0].jobs
    tensors = empty_tensors(layer, jobs[False], steps, batch_size)
    plan, call = jobs[False].program.forward, jobs[False].call(tensors, None)
    lines = reasons(plan, call)
    backend = _able(plan, call)
    if backend is None or backend.recorded:  # of which the gradients are torch's
        return lines
    trained = _training(jobs[True], empty_tensors(layer, jobs[True], steps, batch_size))
    for which, plan, call in trained:
        backend = _able(plan, call)
        about = backend.about(plan, call) if backend else ""
        if backend and about:
            lines.append(f"training, {which}: {backend.name}, {about}")
    return lines


def _able(plan: Plan, call: Call) -> Backend | None:
    """The backend that runs a call; None where one is chosen by hand that cannot."""
    try:
        return select(plan, call)
    except RuntimeError:
        return None


def empty_tensors(layer: Recurrent, job: Job, steps: int, batch_size: int) -> list[Tensor | None]:
    """A job's tensors for a call from zero, its own weights and whatever numbers else."""
    weights = [w.detach() for w in own_parameters(layer, layer._stack[0][0].names)]
    like = weights[0] if weights else torch.empty(0)
    precision = precision_of(like, like)
    if precision is not None:
        weights = [within(w, precision.inside) for w in weights]
        like = like.new_empty(0, dtype=precision.inside)

    def row(size: str, *outer: int) -> Tensor:
        return like.new_empty((*outer, job.sizes[size]))

    outer = {"sequence": (steps, batch_size), "constant": (batch_size,)}
    rows = [row(s.size, *outer[s.role]) for s in job.rows]
    x = row(job.cell.input.size, steps, batch_size)
    return [x, *[None] * len(job.cell.states), *weights, *rows]


def _training(job: Job, tensors: list[Tensor | None]) -> Iterator[tuple[str, Plan, Call]]:
    """The plans of a training step, each with a call of it."""
    yield "forward", job.program.keeping, job.call(tensors, None)
    given = job.filled(tensors)
    n = len(job.program.outputs) + len(job.program.recurrence.states)
    results = empty_results(job, given[0], keep=True)
    noises = len(job.cell.noises)
    wanted = [k < len(given) - noises for k in range(len(given))]
    call = job.backward_call(given, None, results[n:], results[:n], wanted)
    yield "backward", job.backward_plan(wanted, call.shape[0]), call
