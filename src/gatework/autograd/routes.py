"""The door to all runs: plain calls, and those recorded, under torch.func or without memory.

A plain call runs a kernel and, at most, its derived backward pass. These take another way:

    in forward mode (`torch.func.jvp`, dual numbers)    the reference backend, which torch follows
    under another transform of `torch.func`             `gatework.autograd.transforms`
    in torch.func.functionalize                         operators, or the reference in another too
    with tensors that stand for numbers elsewhere       the reference backend
    while something records torch's operations          `gatework.autograd.operator`
    on the meta device, with FakeTensors                the same

A backend of torch operations that is chosen by hand is recorded as these.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

from gatework.autograd.differentiable import run_numbers
from gatework.autograd.job import Job, Tensors, input_of, run_plainly
from gatework.autograd.operator import check_onnx, offer_formulas, register
from gatework.autograd.recorded import run_registered
from gatework.autograd.transforms import run_transformed
from gatework.autograd.undisturbed import undisturbed
from gatework.backends import chosen
from gatework.backends.gate import PLAIN, are_watched, stands_for_numbers
from gatework.backends.reference import Reference


def run(
    job: Job, tensors: Tensors, lengths: Tensor | None = None
) -> tuple[Sequence[Tensor], tuple[Tensor, ...]]:
    """The written sequences and the final states, differentiable in every tensor."""
    if _is_special(tensors, lengths):
        results = undisturbed(_run_specially)(job, job.filled(tensors), lengths)
    else:
        results = run_numbers(job, tensors, lengths)
    count = len(job.program.outputs)
    return results[:count], tuple(results[count:])


def _is_special(tensors: Tensors, lengths: Tensor | None) -> bool:
    """Whether the call is more than numbers with, at most, one backward pass."""
    return (
        not PLAIN.issuperset(map(type, tensors))
        or type(lengths) not in PLAIN
        or input_of(tensors).is_meta
        or are_watched()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def _run_specially(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Sequence[Tensor]:
    """The outputs and the final states of a call that is not plain."""
    if forward_ad._current_level >= 0:
        return _by_reference(job, tensors, lengths, "in forward mode (jvp, dual numbers)")
    transforms = [t.key() for t in get_interpreter_stack() or ()]
    functionalized = TransformType.Functionalize in transforms
    if transforms and not functionalized:
        return run_transformed(job, tensors, lengths)
    if len(transforms) > 1:
        return _by_reference(job, tensors, lengths, "in torch.func.functionalize and in another")
    given = tensors if lengths is None else (*tensors, lengths)
    wrapped = next((type(t).__name__ for t in given if _stands_for_numbers(t)), None)
    if wrapped is not None:
        return _by_reference(job, tensors, lengths, f"on a {wrapped}, which has no memory")
    watched = are_watched() or functionalized
    by_hand = chosen()
    if watched and by_hand is not None and not by_hand.compiles:
        call = job.call(tensors, lengths)
        return run_plainly(job, call, job.backend(job.program.forward, call))
    if watched or tensors[0].is_meta or not PLAIN.issuperset(map(type, given)):
        check_onnx(job.cell.name)
        _check_device(tensors)
        offer_formulas()
        counts = len(job.program.outputs), len(job.program.recurrence.states)
        outputs, final = run_registered(register(job), *counts, tensors, lengths)
        return [*outputs, *final]
    return run_numbers(job, tensors, lengths)


def _check_device(tensors: Sequence[Tensor]) -> None:
    """Raise unless all are on one device: an operator on mixed ones has no numbers to give."""
    devices = {str(t.device) for t in tensors}
    if len(devices) > 1:
        raise RuntimeError(
            f"the input, the states and the weights should be on one device, got tensors on "
            f"{' and '.join(sorted(devices))}; move them with .to(…), or to_empty(…) from meta"
        )


def _stands_for_numbers(tensor: Tensor) -> bool:
    """Whether a tensor runs operations itself. A FakeTensor has an operator's shapes at least."""
    return stands_for_numbers(type(tensor)) and not isinstance(tensor, FakeTensor)


def _by_reference(
    job: Job, tensors: Sequence[Tensor], lengths: Tensor | None, where: str
) -> Sequence[Tensor]:
    """The forward plan as torch operations, which carry their own derivatives."""
    reference, by_hand = Reference(), chosen()
    if by_hand is not None and by_hand.name != reference.name:
        raise RuntimeError(
            f"the backend {by_hand.name!r} cannot run {job.cell.name} {where}; the reference "
            "backend can"
        )
    return run_plainly(job, job.call(tensors, lengths), reference)
