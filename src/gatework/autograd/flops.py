"""The cost of a job, counted as torch counts its own layers.

That is two operations for each weight of a matrix product, and nothing for what is done unit by
unit; `gatework.explain` counts that as well. Sequences with lengths count as if all had T steps.

Legend: T steps, B sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from gatework.autograd.job import Job
from gatework.lang.definition import block_of
from gatework.lang.expressions import Expr, Matrix, Product, postorder


def forward_flops(job: Job, steps: int, batch: int) -> int:
    """Of the forward pass."""
    matrices = _matrices(job.program.recurrence.results())
    return 2 * steps * batch * _weights(matrices, job.sizes)


def backward_flops(job: Job, steps: int, batch: int, wanted: Sequence[bool]) -> int:
    """Of what the wanted gradients need, in the flat order of the job's tensors."""
    backward, sizes = job.program.backward.recurrence, job.sizes
    unwanted = {n for n, w in zip(job.gradient_names, wanted, strict=True) if not w}
    outputs = [v for n, v in backward.outputs.items() if n not in unwanted]
    learned = [c.matrix for c in backward.contractions if block_of(c.matrix)[0] not in unwanted]
    each = steps * _weights(chain(_matrices(outputs), learned), sizes)
    carried = {*_matrices(backward.next_states)} - {*_matrices(outputs)}
    # nobody may want the gradient of the state before the first step
    times = steps - 1 if unwanted.issuperset(job.state_names) else steps
    return 2 * batch * (each + times * _weights(carried, sizes))


def _matrices(roots: Iterable[Expr]) -> list[Matrix]:
    return [n.matrix for n in postorder(roots) if isinstance(n, Product)]


def _weights(matrices: Iterable[Matrix], sizes: Mapping[str, int]) -> int:
    return sum(m.weights(sizes) for m in matrices)
