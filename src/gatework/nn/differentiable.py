"""A program as one differentiable operation of torch.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gatework.backends import Call, select
from gatework.backends.reference import Reference
from gatework.compiler.derivative import adjoint
from gatework.compiler.program import Program
from gatework.lang.expressions import Symbol


@dataclass(frozen=True, eq=False)
class Job:
    """A program and everything about its run but the tensors that may require a gradient.

    The tensors are passed beside it in one flat order: the input [T, B, I], the initial states
    [B, n], the parameters in the cell's order, the noises in the cell's order.
    """

    program: Program
    sizes: Mapping[str, int]
    lengths: Tensor | None
    reverse: bool

    def call(self, tensors: Sequence[Tensor]) -> Call:
        """The tensors by their names, for a forward plan."""
        cell = self.program.cell
        n_states, n_parameters = len(cell.states), len(cell.parameters)
        states, rest = tensors[1 : 1 + n_states], tensors[1 + n_states :]
        noises = list(zip((n.symbol for n in cell.noises), rest[n_parameters:], strict=True))
        return Call(
            shape=(tensors[0].shape[0], tensors[0].shape[1]),
            sizes=self.sizes,
            sequences={cell.input.name: tensors[0], **_by_role(noises, "sequence")},
            constants=_by_role(noises, "constant"),
            states=tuple(states),
            parameters={p.name: t for p, t in zip(cell.parameters, rest, strict=False)},
            lengths=self.lengths,
            reverse=self.reverse,
        )

    def backward_call(
        self, tensors: Sequence[Tensor], kept: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> Call:
        """The tensors by their names, for the backward plan."""
        forward = self.call(tensors)
        outputs = self.program.outputs
        sequences = {
            **forward.sequences,
            **dict(zip(self.program.derivative.kept, kept, strict=True)),
            **{adjoint(f"out_{n}"): g for n, g in zip(outputs, gradients, strict=False)},
        }
        return replace(
            forward,
            sequences={
                s.name: sequences[s.name] for s in self.program.backward.recurrence.sequences
            },
            states=tuple(gradients[len(outputs) :]),
            reverse=not self.reverse,
        )


def _by_role(noises: list[tuple[Symbol, Tensor]], role: str) -> dict[str, Tensor]:
    return {s.name: t for s, t in noises if s.role == role}


def run(job: Job, tensors: Sequence[Tensor]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """The written sequences by name and the final states, differentiable in every tensor."""
    names = job.program.outputs
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        results = _Differentiable.apply(job, *tensors)  # type: ignore[no-untyped-call]
        return dict(zip(names, results, strict=False)), results[len(names) :]
    plan, call = job.program.forward, job.call(tensors)
    result = select(plan, call).run(plan, call)
    return {n: result.outputs[n] for n in names}, result.states


class _Differentiable(torch.autograd.Function):
    """The forward plan that keeps what is needed, then the derived backward plan."""

    @staticmethod
    def forward(ctx: Any, job: Job, *tensors: Tensor) -> tuple[Tensor, ...]:
        plan, call = job.program.keeping, job.call(tensors)
        ctx.job, ctx.backend = job, select(plan, call)
        result = ctx.backend.run(plan, call)
        kept = [result.outputs[n] for n in job.program.derivative.kept]
        ctx.save_for_backward(*tensors, *kept)
        ctx.n_tensors = len(tensors)
        return (*(result.outputs[n] for n in job.program.outputs), *result.states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors, kept = ctx.saved_tensors[: ctx.n_tensors], ctx.saved_tensors[ctx.n_tensors :]
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_twice_differentiable(ctx.job, tensors, gradients, wanted)
        call = ctx.job.backward_call(tensors, kept, gradients)
        names = _gradient_names(ctx.job.program)
        skip = frozenset(n for n, w in zip(names, wanted, strict=True) if not w)
        result = ctx.backend.run(ctx.job.program.backward, replace(call, skip=skip))
        found = {
            **result.outputs,
            **dict(zip(_state_names(ctx.job.program), result.states, strict=True)),
            **result.gradients,
        }
        return None, *(found.get(n) if w else None for n, w in zip(names, wanted, strict=True))


def _state_names(program: Program) -> list[str]:
    return [f"initial {s.name}" for s in program.cell.states]


def _gradient_names(program: Program) -> list[str]:
    """What a backward result calls the gradient of each tensor, in the flat order."""
    cell = program.cell
    noises = [n.symbol.name for n in cell.noises]
    parameters = [p.name for p in cell.parameters]
    return [adjoint(cell.input.name), *_state_names(program), *parameters, *noises]


def _twice_differentiable(
    job: Job, tensors: Sequence[Tensor], gradients: Sequence[Tensor], wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The gradients as differentiable functions themselves, by autograd through the reference."""
    with torch.enable_grad():
        result = Reference().run(job.program.forward, job.call(tensors))
    outputs = (*(result.outputs[n] for n in job.program.outputs), *result.states)
    reached = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad]
    sources = [t for t, w in zip(tensors, wanted, strict=True) if w]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in reached],
            sources,
            [g for _, g in reached],
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(found) if w else None for w in wanted)
