"""A recurrence: one step of computation, repeated over time.

A cell's forward step and the backward step derived from it are both recurrences, so one planner
and every backend serve both. A recurrence knows no direction: forward runs it from the first time
to the last, backward from the last to the first.

Legend: T steps, B sequences, n units of a row.

    sequences   rows [T, B, n] that are read, another one each step
    constants   rows [B, n] that are read, the same at each step
    states      rows [B, n] carried from step to step
    parameters  learned tensors, the same for all
    outputs     rows [T, B, n] that are written, one each step
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import islice

from gatework.forking import cached_property
from gatework.lang.axes import has_axes, of_each, slots
from gatework.lang.definition import Cell, Parameter
from gatework.lang.expressions import (
    Arrange,
    Count,
    Expr,
    Matrix,
    Role,
    Symbol,
    postorder,
    symbol,
)
from gatework.lang.sizes import names_in

STRETCH = 16  # steps from one marked state to the next

Named = tuple[Role, str]  # the role and the name of what is read


def adjoint(name: str) -> str:
    """The name of the gradient of a named row."""
    return f"d_{name}"


@dataclass(frozen=True)
class Contraction:
    """The gradient of one matrix: Σ over steps and sequences of left ⊗ right, [rows, cols].

    `left` names a written sequence of the matrix's rows, `right` a read or written one of its cols.
    Several contractions may name the same matrix; its gradient is their sum.
    """

    matrix: Matrix
    left: str
    right: str


@dataclass(frozen=True)
class Summation:
    """The gradient of one block of a learned vector: Σ over steps and sequences of a sequence."""

    parameter: Symbol
    sequence: str


@dataclass(frozen=True)
class Replay:
    """A state of the forward pass that is marked every `STRETCH` steps, and computed in between.

    The backward pass goes back stretch by stretch: forward from the mark through the steps of the
    stretch, keeping its states, then backward over them. So few of large states are kept, and those
    of one stretch are in a near cache.

    Attributes:
        state: The state before a step.
        new: The state after it, from the replayed states and what the backward step reads.
        marks: The sequence of the states that are marked.
    """

    state: Symbol
    new: Expr
    marks: str

    @property
    def after(self) -> Symbol:
        """The state after a step, as the backward step reads it."""
        return symbol(f"new {self.state.name}", "state", self.state.size)


@dataclass(frozen=True, eq=False)
class Recurrence:
    """One step, and what is done with its rows after the last step.

    Attributes:
        sequences: The rows read at each step.
        constants: The rows read that are the same at each step.
        states: The rows carried from step to step.
        next_states: The new value of each state.
        outputs: What is written at each step, by name.
        parameters: The learned tensors it reads, or whose gradient it computes; what a call knows
            and does not learn is one whose gradient it does not want.
        contractions: Gradients of matrices, from whole sequences.
        summations: Gradients of learned vectors, from whole sequences.
        labels: What values of the step are called, for the names of what is kept.
        inputs: The read rows whose gradient may be wanted; that of a constant is its gradient at
            each step, of which the sum is wanted.
        asked: How many outputs, the first ones, are handed out. Whoever gets them may change them,
            so they are never what a backward pass reads.
        marked: The sequences that have the rows of every `STRETCH`-th step alone, from the first
            that is run forward on: rows [⌈T/STRETCH⌉, B, n], of sequences that are over as well.
        replays: States of the forward pass that the step reads and that are computed again.
    """

    sequences: tuple[Symbol, ...]
    constants: tuple[Symbol, ...]
    states: tuple[Symbol, ...]
    next_states: tuple[Expr, ...]
    outputs: Mapping[str, Expr]
    parameters: tuple[Parameter, ...]
    contractions: tuple[Contraction, ...] = ()
    summations: tuple[Summation, ...] = ()
    labels: Mapping[Expr, str] = field(default_factory=dict)
    inputs: tuple[Symbol, ...] = ()
    asked: int = 1
    marked: frozenset[str] = frozenset()
    replays: tuple[Replay, ...] = ()

    @property
    def key(self) -> Hashable:
        """All that makes it what it is: recurrences of equal keys compute and call all alike."""
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(tuple(v.items()) if isinstance(v, Mapping) else v for v in values)

    @cached_property
    def reads(self) -> tuple[Named, ...]:
        """The role and the name of all it reads, in the order in which a call gives them."""
        rows = (*self.sequences, *self.constants, *self.states)
        parameters: list[Named] = [("parameter", p.name) for p in self.parameters]
        return (*((s.role, s.name) for s in rows), *parameters)

    @cached_property
    def sizes(self) -> frozenset[str]:
        """The sizes of all that it computes, and the names that these are made of."""
        rows = (*self.computed(), *self.sequences, *self.constants, *self.states)
        nodes = tuple(postorder(rows))
        found = {n.of if isinstance(n, Count) else n.size for n in nodes}
        for p in self.parameters:
            found |= {*p.rows, *(of_each(r, p.per) for r in p.rows), *({p.cols} if p.cols else ())}
        bounds = {size for n in nodes if isinstance(n, Arrange) for size in n.bounds()}
        found |= {slot for size in found for slot in slots(size)}
        return frozenset(found | {name for size in found | bounds for name in names_in(size)})

    @cached_property
    def has_axes(self) -> bool:
        """Whether rows have axes, which threads do not share: each has sequences of its own."""
        return any(map(has_axes, self.sizes))

    @property
    def handed_out(self) -> frozenset[str]:
        """The outputs that whoever asked for them may change."""
        return frozenset(islice(self.outputs, self.asked))

    def results(self) -> tuple[Expr, ...]:
        """Everything a step must compute: the new states, then the outputs."""
        return (*self.next_states, *self.outputs.values())

    def computed(self) -> tuple[Expr, ...]:
        """That, and what is computed again."""
        return (*self.results(), *(r.new for r in self.replays))

    def length(self, sequence: str, steps: int) -> int:
        """How many rows a sequence has for each of the batch."""
        return -(-steps // STRETCH) if sequence in self.marked else steps


def of_cell(cell: Cell, traced: tuple[str, ...] = ()) -> Recurrence:
    """The forward recurrence of a cell: it writes the output and the traced named values."""
    noises = tuple(n.symbol for n in cell.noises)
    read = {s.name for s in (*cell.inputs, *noises)}  # a value may have the name of one
    outputs = {
        cell.output_name: cell.output_value,
        **{f"traced {n}" if n in read else n: cell.names[n] for n in traced},
    }
    return Recurrence(
        sequences=tuple(s for s in (*cell.inputs, *noises) if s.role == "sequence"),
        constants=tuple(s for s in (*cell.inputs, *noises) if s.role == "constant"),
        states=cell.states,
        next_states=cell.next_states,
        outputs=outputs,
        parameters=tuple(replace(p, init=None, learned=True) for p in cell.parameters),
        labels={v: n for n, v in reversed([*cell.names.items()]) if v.args},
        inputs=cell.inputs,
        asked=len(outputs),
    )
