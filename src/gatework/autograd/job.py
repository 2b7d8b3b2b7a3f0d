"""A cell at its sizes, and its runs: forward, keeping what the backward pass needs, and backward.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from gatework.backends import Backend, Call, Picker, filled, picker, select
from gatework.compiler.holding import Held, pinned_cell
from gatework.compiler.plan import Plan
from gatework.compiler.program import Program, program, worth_marking
from gatework.compiler.recurrence import Named, Recurrence, adjoint
from gatework.compiler.resets import ResetTo
from gatework.forking import cached_property
from gatework.lang.definition import Cell
from gatework.lang.expressions import Symbol
from gatework.lang.sizes import Sizes

Tensors = Sequence[Tensor | None]
"""In the flat order of a job; None for a state that begins at zero."""


VARIANTS = 64  # of one job: with other values held or traced, with resets


@dataclass(frozen=True, eq=False)
class Job:
    """A cell, the sizes it runs with, its direction, and what is asked beside its output.

    Its tensors are passed beside it in one flat order: the input [T, B, I], the initial states
    [B, n] or None, the parameters in the cell's order, the further rows: what else the cell reads
    from outside, its noises, where episodes end.

    Attributes:
        cell: The cell.
        sizes: The number of units of each size.
        reverse: Whether it runs from the last step to the first.
        traced: The named values that it gives beside the output.
        resets: What the state returns to where an episode ends: "zero", "state", or None for never.
        program: The plans that run it, which all cells with these equations share.
    """

    cell: Cell
    sizes: Mapping[str, int]
    reverse: bool = False
    traced: tuple[str, ...] = ()
    resets: ResetTo | None = None
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        # Both are shared, and live as long as a job asks for them.
        sizes = Sizes.of(self.sizes)
        self.cell.check_sizes(sizes)
        object.__setattr__(self, "sizes", sizes)
        marking = worth_marking(self.cell, sizes)
        made = program(self.cell, self.traced, self.resets, marking)
        object.__setattr__(self, "program", made)

    def variant(self, held: Held, traced: tuple[str, ...], resets: ResetTo | None) -> Job:
        """The same job with values held and traced, and with resets.

        The values of held ones that are no part of the equations come after the parameters.
        """
        asked = held, traced, resets
        found = self._variants.get(asked)
        if found is None:
            cell = pinned_cell(self.cell, held) if any(held) else self.cell
            found = Job(cell, self.sizes, self.reverse, traced, resets)
            for oldest in list(self._variants)[: 1 - VARIANTS]:
                self._variants.pop(oldest, None)
            self._variants[asked] = found
        return found

    @cached_property
    def _variants(self) -> dict[tuple[Held, tuple[str, ...], ResetTo | None], Job]:
        return {}

    def backend(self, plan: Plan, call: Call) -> Backend:
        """The backend that runs one of its plans."""
        return select(plan, call, self.cell.name)

    @cached_property
    def rows(self) -> tuple[Symbol, ...]:
        """What is read beside the input: its further inputs, its noises, where episodes end."""
        known = (*self.cell.further, *(n.symbol for n in self.cell.noises))
        return known + tuple(s for s in self.program.recurrence.sequences[1:] if s not in known)

    def call(self, tensors: Tensors, lengths: Tensor | None) -> Call:
        """The call of a forward plan on these tensors."""
        steps, batch, _ = input_of(tensors).shape
        read = self._reads_forward(tensors)
        return Call((steps, batch), self.sizes, read, lengths, self.reverse)

    def backward_call(
        self,
        tensors: Tensors,
        lengths: Tensor | None,
        kept: Sequence[Tensor],
        gradients: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> Call:
        """The call of the backward plan.

        Args:
            tensors: Those of the forward call.
            lengths: Its lengths.
            kept: What it kept.
            gradients: Those of its outputs and final states.
            wanted: Whether the gradient of each tensor, in the flat order, is wanted.
        """
        steps, batch, _ = input_of(tensors).shape
        read = self._reads_backward((*tensors, *kept, *gradients))
        skip = self._skip(tuple(wanted))
        return Call((steps, batch), self.sizes, read, lengths, not self.reverse, skip)

    def filled(self, tensors: Tensors) -> list[Tensor]:
        """The tensors with zeros where a state begins at zero."""
        x, units = input_of(tensors), [self.sizes[s.size] for s in self.program.recurrence.states]
        end = 1 + len(units)
        states = filled(tensors[1:end], units, x.shape[1], x)
        return [x, *states, *cast(Sequence[Tensor], tensors[end:])]

    @cached_property
    def _reads_forward(self) -> Picker:
        """What a forward plan reads, out of the tensors."""
        return _reader(self.program.recurrence, self._roles)

    @cached_property
    def _reads_backward(self) -> Picker:
        """What the backward plan reads, out of the tensors, what was kept, and the gradients."""
        backward, kept = self.program.backward.recurrence, self.program.derivative.kept
        gradients = [adjoint(f"out_{n}") for n in self.program.outputs]
        later: list[Named] = [("sequence", n) for n in (*kept, *gradients)]
        states = [(s.role, s.name) for s in backward.states]
        return _reader(backward, [*self._roles, *later, *states])

    @cached_property
    def _roles(self) -> list[Named]:
        """The role and the name of each tensor, in the flat order."""
        states = self.program.recurrence.states
        parameters: list[Named] = [("parameter", n) for n in self.parameter_names]
        rows = ((s.role, s.name) for s in (self.cell.input, *states))
        return [*rows, *parameters, *((r.role, r.name) for r in self.rows)]

    @cached_property
    def pick_results(self) -> Picker:
        """The outputs, out of all that the plan which keeps values writes."""
        return self._out_of_written(self.program.outputs)

    @cached_property
    def pick_kept(self) -> Picker:
        """What the backward pass needs, out of the same."""
        return self._out_of_written(self.program.derivative.kept)

    def _out_of_written(self, names: Sequence[str]) -> Picker:
        written = list(self.program.keeping.recurrence.outputs)
        return picker([written.index(n) for n in names])

    @cached_property
    def of_input(self) -> int:
        """The place of the input's gradient among the outputs of the backward plan."""
        written = list(self.program.backward.recurrence.outputs)
        return written.index(adjoint(self.cell.input.name))

    def of_further(self, plan: Plan, outputs: Sequence[Any]) -> list[Any]:
        """The gradients of the further inputs, out of what a backward plan writes.

        What is read once for a sequence has the sum over its steps; None where the plan is without.
        """
        written = dict(zip(plan.recurrence.outputs, outputs, strict=True))
        found = ((s.role, written.get(adjoint(s.name))) for s in self.cell.further)
        return [g.sum(0) if g is not None and r == "constant" else g for r, g in found]

    def backward_plan(self, wanted: Sequence[bool], steps: int) -> Plan:
        """The plan that gives the wanted gradients, in the flat order, of so many steps."""
        program = self.program
        last = steps == 1 and not any(wanted[1 : 1 + len(self.state_names)])
        if self.cell.further:
            gradients = {adjoint(s.name) for s in self.cell.further}
            return program.backward_without(gradients & self._skip(tuple(wanted)), last)
        return program.backward_of_one if last else program.backward

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """What the cell calls its parameters."""
        return tuple(p.name for p in self.cell.parameters)

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """What the gradients of the initial states are called here."""
        return tuple(f"initial {s.name}" for s in self.program.recurrence.states)

    @cached_property
    def gradient_names(self) -> tuple[str, ...]:
        """What a backward result calls the gradient of each tensor, in the flat order."""
        of_input, *further = (adjoint(s.name) for s in self.cell.inputs)
        rows = (f"row {r.name}" for r in self.rows[len(further) :])  # never wanted
        return (of_input, *self.state_names, *self.parameter_names, *further, *rows)

    def _skip(self, wanted: tuple[bool, ...]) -> frozenset[str]:
        """The gradients that need not be computed; the loop needs those of the states itself."""
        if wanted not in self._skips:
            names = (n for n, w in zip(self.gradient_names, wanted, strict=True) if not w)
            self._skips[wanted] = frozenset(names) - {*self.state_names}
        return self._skips[wanted]

    @cached_property
    def _skips(self) -> dict[tuple[bool, ...], frozenset[str]]:
        return {}


def input_of(tensors: Tensors) -> Tensor:
    """The input [T, B, I]: only states may be None."""
    x = tensors[0]
    assert x is not None
    return x


def _reader(recurrence: Recurrence, roles: Sequence[Named]) -> Picker:
    """What a recurrence reads, in its order, out of tensors of these roles and names."""
    places = {role: k for k, role in enumerate(roles)}
    return picker([places[role] for role in recurrence.reads])


def run_plainly(job: Job, call: Call, backend: Backend) -> list[Tensor]:
    """The outputs and the final states, by the forward pass alone: nothing is kept."""
    result = backend.run(job.program.forward, call)
    return [*result.outputs, *result.states]


def run_keeping(job: Job, call: Call, backend: Backend) -> tuple[list[Tensor], Sequence[Tensor]]:
    """The outputs and the final states, and what the backward pass needs."""
    result = backend.run(job.program.keeping, call)
    written = result.outputs
    return [*job.pick_results(written), *result.states], job.pick_kept(written)


def run_backward(
    job: Job,
    tensors: Tensors,
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    gradients: Sequence[Tensor],
    wanted: Sequence[bool],
    backend: Backend | None = None,
) -> list[Tensor | None]:
    """The gradient of each wanted tensor, None for the others.

    The backend is the one that ran forward, unless it has to be chosen here.
    """
    call = job.backward_call(tensors, lengths, kept, gradients, wanted)
    plan = job.backward_plan(wanted, call.shape[0])
    result = (backend or job.backend(plan, call)).run(plan, call)
    found = (result.outputs[job.of_input], *result.states, *result.gradients)
    if job.cell.further:
        found += (*job.of_further(plan, result.outputs),)
    of_rows = [None] * (len(wanted) - len(found))
    return [f if w else None for f, w in zip((*found, *of_rows), wanted, strict=True)]


def check_length_values(lengths: Tensor, steps: int) -> None:
    """Raise unless each length is between 0 and the steps."""
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps:
        raise ValueError(
            f"lengths should be between 0 and the {steps} steps of the input, "
            f"got {int(lengths.min())} to {int(lengths.max())}"
        )
