"""A program as operators of torch, for torch.compile and torch.export: each sees one node.

A graph holds tensors, numbers and strings but no program. So the operators are given a key, which
is the job as text: an exported program holds all that it runs, and needs no layer to be made where
it is loaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from gatework.autograd.flops import backward_flops, forward_flops
from gatework.autograd.job import (
    Job,
    check_length_values,
    run_backward,
    run_keeping,
    run_plainly,
)
from gatework.compiler.holding import Held
from gatework.compiler.resets import ResetTo
from gatework.lang.definition import Cell
from gatework.lang.keeping import Shared, of_the_cell
from gatework.lang.writing import cell_as_data, cell_of_data

_JOBS: Shared[Job] = Shared()
MADE = 256  # jobs that are made from their text and kept


def register(job: Job) -> str:
    """Register a job, for as long as it lives, and return the key by which the operators find it.

    Where one of this key is registered already, the job keeps that one alive.
    """
    key = _text(job.cell, job.traced, job.resets, tuple(job.sizes.items()), job.reverse)
    registered = _JOBS.get(key, lambda: job)
    if registered is not job:
        vars(job)["registered"] = registered
    return key


@of_the_cell(64)
def _text(
    cell: Cell,
    traced: tuple[str, ...],
    resets: ResetTo | None,
    sizes: tuple[tuple[str, int], ...],
    reverse: bool,
) -> str:
    data = {
        "cell": cell_as_data(cell, traced),
        "traced": traced,
        "resets": resets,
        "sizes": dict(sizes),
        "reverse": reverse,
    }
    return json.dumps(data, separators=(",", ":"), sort_keys=True)


def job_of(key: str) -> Job:
    """The job of a key, made from its text where none is registered."""
    return _JOBS.get(key, lambda: _made(key))


@lru_cache(MADE)
def _made(key: str) -> Job:
    data = json.loads(key)
    cell, traced = cell_of_data(data["cell"]), tuple(data["traced"])
    return Job(cell, data["sizes"], data["reverse"], traced, data["resets"])


def call_key(key: str, held: Held, traced: tuple[str, ...], to: ResetTo | None) -> str:
    """The key of a call, from that of its layer: with values held and traced, with resets."""
    if not any(held) and not traced and to is None:
        return key
    found: str = _variant_key(key, tuple(held), traced, to)
    return found


def _variant_key(
    key: str, held: tuple[Any, ...], traced: tuple[str, ...], to: ResetTo | None
) -> str:
    return register(job_of(key).variant(Held(*held), traced, to))


# What torch.compiler.assume_constant_result does, which would load torch's compiler for it.
_variant_key._dynamo_marked_constant = True  # type: ignore[attr-defined]


def record_keeping(
    job: Job, tensors: Sequence[Tensor], lengths: Tensor | None
) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs and the final states of a job, and what its backward pass needs: one operator."""
    offer_formulas()
    found = forward(register(job), list(tensors), lengths, True)
    count = len(job.program.outputs) + len(job.program.recurrence.states)
    return found[:count], found[count:]


def record_backward(
    key: str,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradient of each wanted tensor of a job, None for the others: one operator."""
    offer_formulas()
    found = iter(backward(key, [*tensors], lengths, [*kept], [*gradients], [*wanted]))
    return [next(found) if w else None for w in wanted]


@torch.library.custom_op("gatework::forward", mutates_args=())
def forward(
    key: str, tensors: Sequence[Tensor], lengths: Tensor | None, keep: bool
) -> list[Tensor]:
    """The output, the final states, and with `keep` what the backward pass needs."""
    if lengths is not None:
        check_length_values(lengths, tensors[0].shape[0])
    job = job_of(key)
    plan, call = job.program.keeping if keep else job.program.forward, job.call(tensors, lengths)
    backend = job.backend(plan, call)
    if not keep:
        return _unshared(run_plainly(job, call, backend), tensors)
    results, kept = run_keeping(job, call, backend)
    return _unshared([*results, *kept], tensors)


@forward.register_fake
def _(key: str, tensors: Sequence[Tensor], lengths: Tensor | None, keep: bool) -> list[Tensor]:
    return empty_results(job_of(key), tensors[0], keep)


def empty_results(job: Job, x: Tensor, keep: bool) -> list[Tensor]:
    """What the operator gives for an input [T, B, I], without numbers."""
    program = job.program
    outputs = {**program.keeping.written, **program.keeping.deferred}

    def sequence(name: str) -> Tensor:
        length = program.keeping.recurrence.length(name, x.shape[0])
        return x.new_empty((length, x.shape[1], job.sizes[outputs[name].size]))

    states = [x.new_empty((x.shape[1], job.sizes[s.size])) for s in program.recurrence.states]
    kept = [sequence(name) for name in program.derivative.kept] if keep else []
    return [*(sequence(name) for name in program.outputs), *states, *kept]


@torch.library.custom_op("gatework::backward", mutates_args=())
def backward(
    key: str,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradient of each wanted tensor of a job, in their order."""
    found = run_backward(job_of(key), tensors, lengths, kept, gradients, wanted)
    pairs = zip(compress(found, wanted), compress(tensors, wanted), strict=True)
    results = [torch.zeros_like(t) if g is None else g for g, t in pairs]
    return _unshared(results, [*tensors, *kept, *gradients])


@backward.register_fake
def _(
    key: str,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in compress(tensors, wanted)]


def check_onnx(what: str) -> None:
    """Raise during an ONNX export by torch.jit.trace."""
    if torch._C._is_tracing() and torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            f"ONNX has no operator for {what}; gatework.export.onnx writes layers of any cell, and "
            "models that have some. An accelerated model has torch's own again after "
            "gatework.restore(model)"
        )


def offer_formulas() -> None:
    """Give the cost of the operators to torch's counter of operations, and to those that count now.

    Where the counter is not loaded nobody counts; to load it may load a compiler for GPUs.
    """
    counting: Any = sys.modules.get("torch.utils.flop_counter")
    if counting is None:
        return
    formulas = {torch.ops.gatework.forward: _flops, torch.ops.gatework.backward: _backward_flops}
    for operator, formula in formulas.items():
        if operator not in counting.flop_registry:
            counting.register_flop_formula(operator)(formula)
        for mode in _get_current_dispatch_mode_stack():
            if isinstance(mode, counting._FlopCounterMode):
                known = mode.counter.flop_registry
                known.setdefault(operator, counting.flop_registry[operator])


def _flops(key: str, shapes: Sequence[Sequence[int]], *_: Any, **__: Any) -> int:
    steps, batch, _features = shapes[0]
    return forward_flops(job_of(key), steps, batch)


def _backward_flops(
    key: str, shapes: Sequence[Sequence[int]], *rest: Any, out_shape: Any = None
) -> int:
    steps, batch, _features = shapes[0]
    return backward_flops(job_of(key), steps, batch, rest[-1])


def _unshared(tensors: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Tensors with memory of their own, as an operator must return them."""
    seen = {t.untyped_storage().data_ptr() for t in inputs}
    result = []
    for tensor in tensors:
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.nbytes and tensor.is_contiguous()
        result.append(tensor if whole and storage.data_ptr() not in seen else _copy(tensor))
        seen.add(result[-1].untyped_storage().data_ptr())
    return result


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
