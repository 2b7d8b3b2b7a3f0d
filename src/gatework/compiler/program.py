"""A program: the plans by which a cell is run forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from gatework.compiler.derivative import Derivative, derive
from gatework.compiler.plan import Plan, plan
from gatework.compiler.recurrence import of_cell
from gatework.lang.definition import Cell


@dataclass(frozen=True, eq=False)
class Program:
    """The plans of a cell, each made when it is first asked for.

    Attributes:
        cell: The cell.
        traced: The named values that are written at each step beside the output.
    """

    cell: Cell
    traced: tuple[str, ...] = ()

    @cached_property
    def forward(self) -> Plan:
        """The forward pass alone."""
        return plan(of_cell(self.cell, self.traced))

    @cached_property
    def derivative(self) -> Derivative:
        """The backward recurrence, and the forward one that keeps what it needs."""
        return derive(of_cell(self.cell, self.traced), (self.cell.input,))

    @cached_property
    def keeping(self) -> Plan:
        """The forward pass that also writes what the backward pass reads."""
        return plan(self.derivative.forward)

    @cached_property
    def backward(self) -> Plan:
        """The backward pass."""
        return plan(self.derivative.backward)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of the written sequences: the output, then the traced values."""
        return tuple(self.forward.recurrence.outputs)


@lru_cache(maxsize=1024)
def program(cell: Cell, traced: tuple[str, ...] = ()) -> Program:
    """The program of a cell. The same cell gives the same program.

    Example:
        >>> from gatework import cells
        >>> program(cells.lstm).derivative.kept
        ('previous_h', 'o', 'c', 'i', 'g', 'previous_c', 'f')
    """
    return Program(cell, traced)
