"""A program as one differentiable operation of torch.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from gatework.backends import Backend, Call, chosen, select
from gatework.compiler.derivative import adjoint
from gatework.compiler.plan import Plan
from gatework.compiler.program import Program, program
from gatework.nn.saved import saved_tensors
from gatework.nn.undisturbed import undisturbed


@dataclass(frozen=True, eq=False)
class Job:
    """A program, the sizes it runs with and its direction.

    Its tensors are passed beside it in one flat order: the input [T, B, I], the initial states
    [B, n], the parameters in the cell's order, the program's further rows.
    """

    program: Program
    sizes: Mapping[str, int]
    reverse: bool = False

    def call(self, tensors: Sequence[Tensor], lengths: Tensor | None) -> Call:
        """The tensors by their names, for a forward plan."""
        cell, n_states = self.program.cell, len(self.state_names)
        rest = tensors[1 + n_states :]
        sequences = {cell.input.name: tensors[0]}
        constants: dict[str, Tensor] = {}
        for row, tensor in zip(self.program.rows, rest[len(cell.parameters) :], strict=True):
            (sequences if row.role == "sequence" else constants)[row.name] = tensor
        steps, batch, _ = tensors[0].shape
        return Call(
            shape=(steps, batch),
            sizes=self.sizes,
            sequences=sequences,
            constants=constants,
            states=tuple(tensors[1 : 1 + n_states]),
            parameters=dict(zip(self.parameter_names, rest, strict=False)),
            lengths=lengths,
            reverse=self.reverse,
        )

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """What the cell calls its parameters."""
        return tuple(p.name for p in self.program.cell.parameters)

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """What the gradients of the initial states are called here."""
        return tuple(f"initial {s.name}" for s in self.program.recurrence.states)

    @cached_property
    def gradient_names(self) -> tuple[str, ...]:
        """What a backward result calls the gradient of each tensor, in the flat order."""
        rows = (f"row {r.name}" for r in self.program.rows)  # never wanted
        of_input = adjoint(self.program.cell.input.name)
        return (of_input, *self.state_names, *self.parameter_names, *rows)

    @cached_property
    def resetting(self) -> dict[str, Job]:
        """The same job with resets inside the sequences, by what the state returns to."""
        plain = self.program
        return {
            to: replace(self, program=program(plain.cell, plain.traced, to))
            for to in ("zero", "state")
        }

    def backward_call(
        self,
        forward: Call,
        kept: Sequence[Tensor],
        gradients: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> Call:
        """The tensors by their names, for the backward plan of a forward call.

        Args:
            forward: The forward call.
            kept: What it kept.
            gradients: Those of its outputs and final states.
            wanted: Whether the gradient of each tensor, in the flat order, is wanted.
        """
        outputs = self.program.outputs
        sequences = {
            **forward.sequences,
            **dict(zip(self.program.derivative.kept, kept, strict=True)),
            **{adjoint(f"out_{n}"): g for n, g in zip(outputs, gradients, strict=False)},
        }
        read = self.program.backward.recurrence.sequences
        return forward._replace(
            sequences={s.name: sequences[s.name] for s in read},
            states=tuple(gradients[len(outputs) :]),
            reverse=not self.reverse,
            skip=self._skip(tuple(wanted)),
        )

    def _skip(self, wanted: tuple[bool, ...]) -> frozenset[str]:
        """The gradients that need not be computed; the loop needs those of the states itself."""
        if wanted not in self._skips:
            names = (n for n, w in zip(self.gradient_names, wanted, strict=True) if not w)
            self._skips[wanted] = frozenset(names) - {*self.state_names}
        return self._skips[wanted]

    @cached_property
    def _skips(self) -> dict[tuple[bool, ...], frozenset[str]]:
        return {}


def run(
    job: Job, tensors: Sequence[Tensor], lengths: Tensor | None = None
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """The written sequences by name and the final states, differentiable in every tensor."""
    names = job.program.outputs
    if _is_special(tensors[0]):
        from gatework.nn.routes import run_specially

        results = run_specially(job, tensors, lengths)
    else:
        results = run_numbers(job, tensors, lengths)
    return dict(zip(names, results, strict=False)), tuple(results[len(names) :])


def run_numbers(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    """The outputs and the final states of a call on numbers, with its derived backward pass."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        found: tuple[Tensor, ...] = _Differentiable.apply(job, lengths, *tensors)  # type: ignore[no-untyped-call]
        return found
    return run_plainly(job, tensors, lengths)[0]


def _is_special(x: Tensor) -> bool:
    """Whether the call is more than numbers on the CPU with, at most, one backward pass."""
    return (
        not x.is_cpu
        or type(x) not in (Tensor, Parameter)  # a FakeTensor, or another one without memory
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or chosen() == "torch"
    )


Ran = tuple[list[Tensor], list[Tensor], Backend]
"""The outputs and final states, what the backward pass needs, and the backend that ran."""


def run_plainly(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Ran:
    """The forward pass alone: nothing is kept."""
    return _run(job, job.program.forward, (), tensors, lengths)


def run_keeping(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Ran:
    """The forward pass, keeping what the backward pass needs."""
    return _run(job, job.program.keeping, job.program.derivative.kept, tensors, lengths)


def _run(
    job: Job,
    plan: Plan,
    kept: Sequence[str],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
) -> Ran:
    call = job.call(tensors, lengths)
    backend = select(plan, call)
    result = backend.run(plan, call)
    outputs = (result.outputs[n] for n in job.program.outputs)
    return [*outputs, *result.states], [result.outputs[n] for n in kept], backend


def run_backward(
    job: Job,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
    wanted: Sequence[bool],
    backend: Backend | None = None,
) -> list[Tensor | None]:
    """The gradient of each wanted tensor, None for the others.

    The backend is the one that ran forward, unless it has to be chosen here.
    """
    plan = job.program.backward
    call = job.backward_call(job.call(tensors, lengths), kept, gradients, wanted)
    result = (backend or select(plan, call)).run(plan, call)
    states = zip(job.state_names, result.states, strict=True)
    found = {**result.outputs, **result.gradients, **dict(states)}
    return [found.get(n) if w else None for n, w in zip(job.gradient_names, wanted, strict=True)]


class _Differentiable(torch.autograd.Function):
    """The forward plan that keeps what is needed, then the derived backward plan."""

    @staticmethod
    def forward(ctx: Any, job: Job, lengths: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        results, kept, ctx.backend = run_keeping(job, tensors, lengths)
        ctx.job, ctx.lengths, ctx.n_tensors = job, lengths, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *undisturbed(_gradients)(ctx, gradients)


def _gradients(ctx: Any, gradients: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradient of each tensor that needs one."""
    saved = saved_tensors(ctx)
    tensors, kept = saved[: ctx.n_tensors], saved[ctx.n_tensors :]
    if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
        from gatework.nn.transforms import gradients_of

        return gradients_of(ctx.job, ctx.lengths, tensors, kept, gradients)
    if torch._C._functorch.is_legacy_batchedtensor(gradients[0]):
        raise RuntimeError(
            "a backward pass cannot run over many gradients with is_grads_batched=True "
            "(vectorize=True of torch.autograd.functional); use torch.func.jacrev or vmap"
        )
    wanted = ctx.needs_input_grad[2:]
    return run_backward(ctx.job, tensors, ctx.lengths, kept, gradients, wanted, ctx.backend)
