"""A program: the plans by which a cell is run forward and backward."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from gatework.compiler.derivative import Derivative, derive
from gatework.compiler.plan import Plan, plan
from gatework.compiler.recurrence import Recurrence, of_cell
from gatework.compiler.resets import ResetTo, with_resets
from gatework.forking import cached_property
from gatework.lang.axes import is_long
from gatework.lang.definition import Cell
from gatework.lang.keeping import Shared, of_the_cell

WORTH_MARKING = 512  # units of a long state
MOST = 64  # programs of one cell, with other values traced


@dataclass(frozen=True, eq=False)
class Program:
    """The plans of a recurrence, each made when it is first asked for.

    It knows no cell: cells with equal equations, whoever made them, have one program.

    Attributes:
        recurrence: What is computed forward.
        marking: Whether its training passes mark long states: see `Replay`.
    """

    recurrence: Recurrence
    marking: bool = False

    @cached_property
    def forward(self) -> Plan:
        """The forward pass alone."""
        return plan(self.recurrence)

    @cached_property
    def derivative(self) -> Derivative:
        """The backward recurrence, and the forward one that keeps what it needs."""
        return derive(self.recurrence, self.recurrence.inputs, self.marking)

    @cached_property
    def keeping(self) -> Plan:
        """The forward pass that also writes what the backward pass reads."""
        return plan(self.derivative.forward)

    @cached_property
    def backward(self) -> Plan:
        """The backward pass."""
        return plan(self.derivative.backward)

    @cached_property
    def backward_of_one(self) -> Plan:
        """The backward pass of a single step where nobody wants the gradient of the state before.

        It gives the same but for that: its states stay what they were.
        """
        backward = self.derivative.backward
        return plan(replace(backward, next_states=backward.states))

    def backward_without(self, unwanted: Set[str], of_one: bool) -> Plan:
        """The backward pass, or that of a single step, without gradients of inputs, by name.

        Those that follow from others after the loop cost nothing where they are skipped; a cell of
        several inputs may have some that the loop would compute for nobody.
        """
        key = frozenset(unwanted), of_one
        if key not in self._backwards:
            backward = (self.backward_of_one if of_one else self.backward).recurrence
            outputs = {n: v for n, v in backward.outputs.items() if n not in unwanted}
            self._backwards[key] = plan(replace(backward, outputs=outputs))
        return self._backwards[key]

    @cached_property
    def _backwards(self) -> dict[tuple[frozenset[str], bool], Plan]:
        return {}

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of the written sequences: the output, then the traced values."""
        return tuple(self.recurrence.outputs)


_programs: Shared[Program] = Shared()


@of_the_cell(MOST)
def program(
    cell: Cell,
    traced: tuple[str, ...] = (),
    resets: ResetTo | None = None,
    marking: bool = False,
) -> Program:
    """The program of a cell: the same for all cells with equal equations.

    It lives as long as one of these cells, or whoever runs it.

    Args:
        cell: The cell.
        traced: The named values that are written at each step beside the output.
        resets: What the state returns to where an episode ends, "zero" or "state"; None when it is
            carried through. See `gatework.compiler.resets`.
        marking: Whether training passes mark long states, and compute them again in between. See
            `worth_marking`.

    Example:
        >>> from gatework import cells
        >>> program(cells.lstm).derivative.kept
        ('previous_h', 'o', 'c', 'i', 'g', 'previous_c', 'f')
    """
    forward = of_cell(cell, traced)
    forward = with_resets(forward, resets) if resets else forward
    return _programs.get((forward.key, marking), lambda: Program(forward, marking))


def worth_marking(cell: Cell, sizes: Mapping[str, int]) -> bool:
    """Whether a cell has states so large that to compute them again costs less than their memory.

    It depends on nothing but the sizes of a layer, so all its calls keep the same.
    """
    return any(is_long(s.size) and sizes[s.size] >= WORTH_MARKING for s in cell.states)
