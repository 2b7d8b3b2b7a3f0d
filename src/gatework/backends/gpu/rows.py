"""The tensors of one call by name, as products over all steps read them.

Legend: T steps, B sequences, N = T·B rows, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatework.backends.calls import HALVES, Call
from gatework.backends.gpu.products import Part
from gatework.backends.reference import Run
from gatework.compiler.plan import Plan
from gatework.forking import cached_property
from gatework.lang.expressions import Expr


class Names(NamedTuple):
    """The names of what a plan reads first and last."""

    sequences: tuple[str, ...]
    parameters: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> Names:
        """Those of a plan."""
        read = plan.recurrence
        return cls(tuple(s.name for s in read.sequences), tuple(p.name for p in read.parameters))


class Rows:
    """What a call is given and what is made of it so far.

    Attributes:
        call: The call.
        sequences: The sequences [T, B, n] by name.
        parameters: The parameters by name.
        stacks: What was written side by side, and what was asked for as such, [N, columns].
    """

    def __init__(self, plan: Plan, call: Call, names: Names) -> None:
        self.plan, self.call, given = plan, call, call.tensors
        self.sequences: dict[str, Any] = dict(zip(names.sequences, given, strict=False))
        weights = given[len(given) - len(names.parameters) :]
        self.parameters: dict[str, Any] = dict(zip(names.parameters, weights, strict=True))
        self.stacks: dict[str, Tensor] = {}

    def by_operations(
        self, values: Mapping[str, Expr], found: Mapping[Expr, Tensor]
    ) -> dict[str, Tensor]:
        """Values [T, B, n] by torch's operations, from what is found already; float32 inside."""
        run, dtype = self._run, self.call.like.dtype
        sequences = self.sequences.items()
        run.sequences.update((n, _wide(s)) for n, s in sequences if n not in run.sequences)
        known = {value: _wide(v) for value, v in found.items()}
        return {n: v.to(dtype) for n, v in run.over_all_steps(values, known).items()}

    @cached_property
    def _run(self) -> Run:
        """The call as the reference backend runs it."""
        tensors = [None if t is None else _wide(t) for t in self.call.tensors]
        return Run(self.plan, self.call._replace(tensors=tensors))

    @cached_property
    def active(self) -> Tensor | None:
        """Which steps belong to their sequence, [T, B, 1]; None when all do."""
        return self.call.active()

    def flat(self, name: str) -> Tensor:
        """All rows of a sequence, [N, n]."""
        whole: Tensor = self.sequences[name]
        return whole.flatten(0, 1)

    def columns(self, part: Part) -> Tensor:
        """All rows of what lies side by side, or of a sequence, [N, n]."""
        stack = self.whole(part.of)
        whole = part.span.start == 0 and part.span.stop == stack.shape[1]
        return stack if whole else stack[:, part.span]

    def whole(self, name: str) -> Tensor:
        """All columns of it."""
        stack = self.stacks.get(name)
        if stack is None:
            stack = self.stacks[name] = self.flat(name)
        return stack

    def weight(self, part: Part) -> Tensor:
        """Rows of a parameter."""
        parameter: Tensor = self.parameters[part.of]
        whole = part.span.start == 0 and part.span.stop == parameter.shape[0]
        return parameter if whole else parameter[part.span]

    def masked(self, sequence: Tensor) -> Tensor:
        """The sequence with zeros where a sequence is over, whatever stood there."""
        return sequence if self.active is None else torch.where(self.active, sequence, 0)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALVES else tensor
