"""Resets inside a sequence: where an episode ends, the state returns to its initial value.

A reset is one more equation at the end of a step, not one more stage at its beginning. With e = 1
where an episode ends with this step, else 0,

    carried state = e ? initial value : new state

and the output stays the new state. The gradient of the new state is masked in the same way, so
nothing flows back over the boundary. An initial value other than zero is a state of its own that
never changes; its gradient is that of an initial state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from gatework.compiler.recurrence import Recurrence
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Expr, apply, const, symbol

ResetTo = Literal["zero", "state"]
"""What the state returns to: zero, or its initial value."""

ENDS = "episode ends"
"""The read sequence e, [T, B, 1]. No cell has this name: it is no Python identifier."""


def with_resets(forward: Recurrence, to: ResetTo) -> Recurrence:
    """A recurrence that also reads whether an episode ends with a step.

    Args:
        forward: The recurrence of a cell.
        to: What the state returns to: "zero", or "state", for which as many further states are
            carried, each the initial value of one of the first.

    Example:
        >>> from gatework import cells
        >>> from gatework.compiler.recurrence import of_cell
        >>> [s.name for s in with_resets(of_cell(cells.rnn), "state").states]
        ['h', 'initial h']
    """
    ends = symbol(ENDS, "sequence", SCALAR)
    held = tuple(symbol(f"initial {s.name}", "state", s.size) for s in forward.states)
    zeros = tuple(const(0, s.size) for s in forward.states)
    initial: tuple[Expr, ...] = held if to == "state" else zeros
    carried = (
        apply("where", ends, value, new)
        for new, value in zip(forward.next_states, initial, strict=True)
    )
    further = held if to == "state" else ()
    return replace(
        forward,
        sequences=(*forward.sequences, ends),
        states=(*forward.states, *further),
        next_states=(*carried, *further),
    )
