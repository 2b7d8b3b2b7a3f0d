"""A program under torch.func, and differentiated twice.

`torch.func`'s transforms need an operation whose gradient, and whose run over a further dimension,
are operations again. Two are enough, since a step of one sequence reads no other sequence:

    _Results    a program forward: outputs, final states, and what the backward pass reads
    _Gradients  the derived backward pass; over groups of sequences, one gradient for each

A dimension that `vmap` adds to the sequences is folded into the batch, so one run of the kernel
does it all. One added to the parameters, an ensemble, is a run for each member. The gradient of a
gradient goes through the reference backend, torch operation by torch operation.

Legend: T steps, B sequences, G groups of sequences, N what vmap adds, n units of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gatework.autograd.job import Job, check_length_values, run_backward, run_keeping
from gatework.autograd.operator import record_backward, record_keeping, register
from gatework.autograd.saved import saved_tensors
from gatework.autograd.undisturbed import undisturbed
from gatework.backends import Call, given
from gatework.backends.gate import are_watched
from gatework.backends.reference import Reference, contracted
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import Recurrence
from gatework.lang.definition import Parameter, block_of

SEQUENCE, ROW, PARAMETER, GROUPED = "sequence", "row", "parameter", "grouped"
FOLDED = {SEQUENCE: 1, ROW: 0, GROUPED: 0}  # the dimension that vmap's is folded into
Dims = Sequence[int | None]


def run_transformed(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> list[Tensor]:
    """The outputs and the final states, under any of torch.func's transforms."""
    return list(_results(job, lengths, *tensors))[: _Roles(job).n_results]


def _results(*arguments: Any) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = _Results.apply(*arguments)  # type: ignore[no-untyped-call]
    return found


def _gradients(*arguments: Any) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = _Gradients.apply(*arguments)  # type: ignore[no-untyped-call]
    return found


class _Roles:
    """What each tensor of a job is, in the flat order, and what its runs give."""

    def __init__(self, job: Job) -> None:
        cell, program = job.cell, job.program
        rows = [SEQUENCE if r.role == "sequence" else ROW for r in job.rows]
        further, noises = rows[: len(cell.further)], rows[len(cell.further) :]
        states = [ROW] * len(program.recurrence.states)
        parameters = [PARAMETER] * len(cell.parameters)
        self.tensors = [SEQUENCE, *states, *parameters, *rows]
        self.results = [SEQUENCE] * len(program.outputs) + states
        self.kept = [SEQUENCE] * len(program.derivative.kept)
        self.n_results, self.n_tensors = len(self.results), len(self.tensors)
        self.n_wanted = self.n_tensors - len(noises)
        self.gradients = [SEQUENCE, *states, *[GROUPED] * len(parameters), *further]


class _Results(torch.autograd.Function):
    """(job, lengths, *tensors) -> (*outputs, *final states, *kept)."""

    @staticmethod
    def forward(job: Job, lengths: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        if lengths is not None:
            check_length_values(lengths, tensors[0].shape[0])
        results, kept = keeping(job, tensors, lengths)
        return (*results, *kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.job, ctx.lengths, *tensors = inputs
        kept = output[_Roles(ctx.job).n_results :]
        ctx.mark_non_differentiable(*kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        roles = _Roles(ctx.job)
        tensors, outputs = _split(saved_tensors(ctx), roles.n_tensors)
        results, kept = _split(outputs, roles.n_results)
        of_results = [
            torch.zeros_like(r) if g is None else g
            for r, g in zip(results, gradients, strict=False)
        ]
        return None, None, *gradients_of(ctx.job, ctx.lengths, tensors, kept, of_results)

    @staticmethod
    def vmap(info: Any, in_dims: Dims, job: Job, lengths: Any, *tensors: Tensor) -> Any:
        roles = _Roles(job)
        return _vectorised(
            lambda lengths, folded, _: _results(job, lengths, *folded),
            info.batch_size,
            (in_dims[1], lengths),
            (in_dims[2:], roles.tensors, tensors),
            [*roles.results, *roles.kept],
        )


def gradients_of(
    job: Job,
    lengths: Tensor | None,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
) -> list[Tensor | None]:
    """The gradient of each tensor, differentiable again; None for the noises."""
    roles = _Roles(job)
    found = undisturbed(_gradients)(job, lengths, 1, *tensors, *kept, *gradients)
    flat = [f[0] if r is GROUPED else f for f, r in zip(found, roles.gradients, strict=True)]
    return [*flat, *[None] * (roles.n_tensors - roles.n_wanted)]


class _Gradients(torch.autograd.Function):
    """(job, lengths, G, *tensors, *kept, *gradients of results) -> (*gradients of tensors,).

    The sequences stand group by group in the batch. A parameter's gradient is [G, *its shape].
    What was kept saves work and is no input of its own: it follows from the tensors.
    """

    @staticmethod
    def forward(job: Job, lengths: Tensor | None, groups: int, *rows: Tensor) -> Any:
        roles = _Roles(job)
        tensors, rest = _split(rows, roles.n_tensors)
        kept, gradients = _split(rest, len(roles.kept))
        if groups != 1:
            if are_watched():
                return _by_reference(job, lengths, groups, tensors, gradients)
            return _grouped(job, lengths, groups, tensors, kept, gradients)
        wanted = [k < roles.n_wanted for k in range(roles.n_tensors)]
        if are_watched():
            found = record_backward(register(job), tensors, lengths, kept, gradients, wanted)
        else:
            found = run_backward(job, tensors, lengths, kept, gradients, wanted)
        pairs = zip(found, tensors, roles.gradients, strict=False)
        filled = [(torch.zeros_like(t) if f is None else f, role) for f, t, role in pairs]
        return tuple(f[None] if role is GROUPED else f for f, role in filled)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.job, ctx.lengths, ctx.groups, *rows = inputs
        ctx.save_for_backward(*rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        roles = _Roles(ctx.job)
        tensors, rest = _split(saved_tensors(ctx), roles.n_tensors)
        kept, of_results = _split(rest, len(roles.kept))
        free, noises = _split(tensors, roles.n_wanted)

        def again(*inputs: Tensor) -> tuple[Tensor, ...]:
            tensors, of_results = _split(inputs, roles.n_wanted)
            rows = (*tensors, *noises)
            return _by_reference(ctx.job, ctx.lengths, ctx.groups, rows, of_results)

        pull = torch.func.vjp(again, *free, *of_results)[1]
        of_free, of_gradients = _split(pull(tuple(gradients)), roles.n_wanted)
        unreached = [None] * (len(noises) + len(kept))
        return None, None, None, *of_free, *unreached, *of_gradients

    @staticmethod
    def vmap(info: Any, in_dims: Dims, job: Job, lengths: Any, groups: int, *rows: Tensor) -> Any:
        roles = _Roles(job)
        return _vectorised(
            lambda lengths, folded, n: _gradients(job, lengths, n * groups, *folded),
            info.batch_size,
            (in_dims[1], lengths),
            (in_dims[3:], [*roles.tensors, *roles.kept, *roles.results], rows),
            roles.gradients,
        )


def keeping(
    job: Job, tensors: Sequence[Tensor], lengths: Tensor | None
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The outputs and the final states, and what the backward pass needs."""
    if are_watched():
        return record_keeping(job, tensors, lengths)
    call = job.call(tensors, lengths)
    return run_keeping(job, call, job.backend(job.program.keeping, call))


def _split(values: Sequence[Any], count: int) -> tuple[Sequence[Any], Sequence[Any]]:
    return values[:count], values[count:]


# ---- gradients of parameters, group by group -----------------------------------------------------


def _grouped(
    job: Job,
    lengths: Tensor | None,
    groups: int,
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """The gradients of all tensors but the noises, those of parameters for each group.

    The loop over time is run once for all groups, then each group's sequences are summed up.
    """
    plan = job.program.backward
    wanted = [n not in job.parameter_names for n in job.gradient_names]
    call = job.backward_call(tensors, lengths, kept, gradients, wanted)
    result = job.backend(plan, call).run(plan, call)
    written = dict(zip(plan.recurrence.outputs, result.outputs, strict=True))
    sequences = {**_masked(plan, call), **written}
    shapes = {p: p.shape(job.sizes) for p in job.cell.parameters}
    sums = _sums(plan.recurrence, sequences, groups, job.sizes)
    return (
        result.outputs[job.of_input],
        *result.states,
        *(
            _assembled(p, job.sizes, sums, tensors[0].new_zeros((groups, *s)))
            for p, s in shapes.items()
        ),
        *job.of_further(plan, result.outputs),
    )


def _masked(plan: Plan, call: Call) -> Mapping[str, Tensor]:
    """The sequences read at each step, with zeros where a sequence is over."""
    active, sequences = call.active(), given(plan, call).sequences
    sequences = {n: s for n, s in sequences.items() if n not in plan.recurrence.marked}
    if active is None:
        return sequences
    return {n: torch.where(active, s, 0) for n, s in sequences.items()}


def _sums(
    recurrence: Recurrence,
    sequences: Mapping[str, Tensor],
    groups: int,
    sizes: Mapping[str, int],
) -> dict[tuple[str, str], Tensor]:
    """The gradient of each block of a parameter, [G, rows] or [G, rows, cols]."""

    def rows(name: str) -> Tensor:  # [G, T * B, n]
        whole = sequences[name]
        return _unfolded(whole, 1, groups).movedim(1, 0).flatten(1, 2)

    found: dict[tuple[str, str], Tensor] = {}
    for c in recurrence.contractions:
        block = block_of(c.matrix)
        part = contracted(rows(c.left), rows(c.right), c.matrix.heads(sizes))
        found[block] = found[block] + part if block in found else part
    for s in recurrence.summations:
        found[block_of(s.parameter)] = rows(s.sequence).sum(1)
    return found


def _assembled(
    parameter: Parameter,
    sizes: Mapping[str, int],
    sums: Mapping[tuple[str, str], Tensor],
    zeros: Tensor,
) -> Tensor:
    """A stacked parameter's gradient [G, *its shape]; zero for blocks that nothing depends on."""
    spans = parameter.spans(sizes).items()
    return torch.cat([sums.get((parameter.name, b), zeros[:, span]) for b, span in spans], 1)


# ---- gradients that can be differentiated again --------------------------------------------------


def _by_reference(
    job: Job,
    lengths: Tensor | None,
    groups: int,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """What `_Gradients` gives, as torch operations of the reference backend."""
    roles = _Roles(job)
    n_tensors, n_wanted = roles.n_tensors, roles.n_wanted

    def of_group(lengths: Tensor | None, *rows: Tensor) -> tuple[Tensor, ...]:
        free, noises = rows[:n_wanted], rows[n_wanted:n_tensors]

        def results(*free: Tensor) -> tuple[Tensor, ...]:
            call = job.call((*free, *noises), lengths)
            found = Reference().run(job.program.forward, call)
            return (*found.outputs, *found.states)

        pull = torch.func.vjp(results, *free)[1]
        found: tuple[Tensor, ...] = pull(tuple(rows[n_tensors:]))
        return found

    if groups == 1:
        found = of_group(lengths, *tensors, *gradients)
        return tuple(
            f[None] if r is GROUPED else f for f, r in zip(found, roles.gradients, strict=True)
        )
    given = [*roles.tensors, *roles.results]
    places = [FOLDED.get(r) for r in given]
    rows = [
        t if p is None else _unfolded(t, p, groups)
        for t, p in zip((*tensors, *gradients), places, strict=True)
    ]
    steps = None if lengths is None else lengths.reshape(groups, -1)
    out = tuple(FOLDED[r] for r in roles.gradients)
    in_dims = (None if lengths is None else 0, *places)
    found = torch.vmap(of_group, in_dims, out)(steps, *rows)
    return tuple(
        f if r is GROUPED else f.flatten(FOLDED[r], FOLDED[r] + 1)
        for f, r in zip(found, roles.gradients, strict=True)
    )


# ---- vmap ----------------------------------------------------------------------------------------


def _vectorised(
    run: Callable[[Tensor | None, Sequence[Tensor], int], Sequence[Tensor]],
    count: int,
    lengths: tuple[int | None, Tensor | None],
    rows: tuple[Dims, Sequence[str], Sequence[Tensor]],
    results: Sequence[str],
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Run over a further dimension of N = `count`: what came out, and where that dimension is.

    Args:
        run: The operation, on lengths, tensors and how often the batch is repeated in them.
        count: N.
        lengths: Where the dimension is in the lengths, None for nowhere, and the lengths.
        rows: The same for the tensors, and what each is.
        results: What each result is.
    """
    dims, roles, tensors = rows
    if any(d is not None and r is PARAMETER for d, r in zip(dims, roles, strict=True)):
        return _one_by_one(run, count, lengths, (dims, tensors))
    dim, steps = lengths
    folded = [_folded(t, d, r, count) for t, d, r in zip(tensors, dims, roles, strict=True)]
    found = run(None if steps is None else _folded(steps, dim, ROW, count), folded, count)
    places = [FOLDED[r] for r in results]
    return tuple(_unfolded(f, p, count) for f, p in zip(found, places, strict=True)), tuple(places)


def _one_by_one(
    run: Callable[[Tensor | None, Sequence[Tensor], int], Sequence[Tensor]],
    count: int,
    lengths: tuple[int | None, Tensor | None],
    rows: tuple[Dims, Sequence[Tensor]],
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """An ensemble: each member has its own parameters, hence its own run."""

    def member(tensor: Any, dim: int | None, k: int) -> Any:
        return tensor if dim is None else tensor.select(dim, k)

    dim, steps = lengths
    found = [
        run(
            member(steps, dim, k),
            [member(t, d, k) for t, d in zip(rows[1], rows[0], strict=True)],
            1,
        )
        for k in range(count)
    ]
    stacked = tuple(torch.stack(tuple(parts)) for parts in zip(*found, strict=True))
    return stacked, (0,) * len(stacked)


def _folded(tensor: Tensor, dim: int | None, role: str, count: int) -> Tensor:
    """A tensor with the further dimension as the outer part of its batch dimension."""
    if role is PARAMETER:
        return tensor
    batch = FOLDED[role]
    if dim is None:
        whole = tensor.unsqueeze(batch).expand(*tensor.shape[:batch], count, *tensor.shape[batch:])
    else:
        whole = tensor.movedim(dim, batch)
    folded: Tensor = whole.flatten(batch, batch + 1)
    return folded


def _unfolded(tensor: Tensor, batch: int, count: int) -> Tensor:
    """The further dimension again, before the batch dimension."""
    outer, inner = tensor.shape[:batch], tensor.shape[batch + 1 :]
    return tensor.reshape(*outer, count, tensor.shape[batch] // count, *inner)
