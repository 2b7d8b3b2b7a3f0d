"""Loops that are linear in their states, found from the equations of a plan.

    next = A · states + b      unit by unit, A and b without the states

The steps of such a loop can be cut into pieces that run at the same time: what a piece makes of
zeros, and the product of its A, say what it makes of any states. A backward pass whose loop goes
unit by unit is always one, since gradients are linear in gradients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

from gatework.analysis.calculus import is_zero, slope
from gatework.compiler.plan import Plan
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Apply, Expr, Symbol, postorder

# The functions that are linear in some of their arguments, and in which of them.
LINEAR_IN: Mapping[str, Collection[int]] = {
    "add": (0, 1),
    "sub": (0, 1),
    "neg": (0,),
    "mul": (0, 1),  # but not in both at the same time
    "div": (0,),
    "where": (1, 2),
}


@dataclass(frozen=True)
class Linear:
    """How the states of a loop follow from each other.

    Attributes:
        states: The states that are linear in each other.
        factors: A without its zeros, by new and old state. A factor may read `delays`.
        delays: The states that are known without the others: those that never change, and those
            that are rows of steps before, whose new values read rows of the step and such states.
        depth: How many steps it takes until no delay depends on what the states were.
    """

    states: tuple[Symbol, ...]
    factors: Mapping[tuple[Symbol, Symbol], Expr]
    delays: tuple[Symbol, ...]
    depth: int

    def reach(self) -> set[tuple[Symbol, Symbol]]:
        """Of any number of steps: which state after them reads which state before them."""
        found = {(s, s) for s in self.states} | {*self.factors}
        for between in self.states:
            after = [a for a, b in found if b is between]
            found |= {(a, b) for a in after for m, b in [*found] if m is between}
        return found


def linear(plan: Plan) -> Linear | None:
    """How the states of a plan's loop follow from each other; None where that is not linear.

    Example:
        >>> from gatework import cells
        >>> from gatework.compiler.program import program
        >>> found = linear(program(cells.min_gru).forward)
        >>> [str(factor) for factor in found.factors.values()]
        ['hoisted0']
        >>> linear(program(cells.gru).forward) is None
        True
    """
    if not goes_unit_by_unit(plan):
        return None
    new = dict(zip(plan.recurrence.states, plan.next_states, strict=True))
    depths = _delays(new)
    states = tuple(s for s in new if s not in depths)
    if not all(_is_linear(new[s], states) for s in states):
        return None
    pairs = {(a, b): slope(new[a], b) for a in states for b in states}
    factors = {pair: factor for pair, factor in pairs.items() if not is_zero(factor)}
    return Linear(states, factors, tuple(depths), max(depths.values(), default=0))


def goes_unit_by_unit(plan: Plan) -> bool:
    """Whether no step reads a row whole: each unit goes its own way through all steps."""
    if plan.replays or plan.recurrence.marked:
        return False
    roots = (*plan.next_states, *plan.written.values())
    values = [n for n in postorder(roots) if n.args]
    return all(
        isinstance(n, Apply) and all(a.size in (n.size, SCALAR) for a in n.args) for n in values
    )


def _delays(new: Mapping[Symbol, Expr]) -> dict[Symbol, int]:
    """The states that never change or are rows of steps before, and of how many."""
    read = {s: _states_read(value) for s, value in new.items()}
    found = {s: 0 for s, value in new.items() if value is s}
    for _ in new:  # a delay of delays comes later than these
        for s, states in read.items():
            if s not in found and states <= found.keys():
                found[s] = 1 + max((found[r] for r in states), default=0)
    return found


def _states_read(value: Expr) -> set[Symbol]:
    leaves = (n for n in postorder([value]) if isinstance(n, Symbol))
    return {n for n in leaves if n.role == "state"}


def _is_linear(value: Expr, states: Collection[Symbol]) -> bool:
    """Whether a value is linear in some states."""
    reading: set[Expr] = set(states)
    for node in postorder([value]):
        carried = {k for k, a in enumerate(node.args) if a in reading}
        if carried:
            function = cast(Apply, node).function
            if not carried <= {*LINEAR_IN.get(function, ())} or (
                function == "mul" and len(carried) > 1
            ):
                return False
            reading.add(node)
    return True
