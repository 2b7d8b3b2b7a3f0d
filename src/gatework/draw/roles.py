"""What the values of a cell are for: which are gates, and where its memory runs.

Both are read from the equations, so they hold for any cell.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Const, Expr, Symbol, postorder
from gatework.lang.ranges import Range, ranges
from gatework.lang.words import softmax

__all__ = ["gates_of", "memory_of", "squashed_values"]

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg", "where", "minimum", "maximum"})
"""Functions that hand a value on unit by unit, without squashing it."""


def gates_of(cell: Cell) -> set[Expr]:
    """The gates: values squashed to 0 … 1 that multiply something.

    A value counts as multiplying where it, or what only lies between it and the product such as
    1 - z, is a factor beside something that is computed.

    Example:
        >>> from gatework import cells
        >>> [n for n, v in cells.gru.names.items() if v in gates_of(cells.gru)]
        ['r', 'z']
    """
    nodes = list(postorder(cell.next_states))
    within = squashed_values(nodes)
    controls: set[Expr] = set()
    for node in reversed(nodes):  # results before their arguments
        if isinstance(node, Apply) and node.function == "mul":
            computed = [a for a in node.args if not isinstance(a, Const) and not is_learned(a)]
            if len(computed) == 2 or node in controls:
                controls |= set(computed) & within
        elif node in controls and isinstance(node, Apply) and node.function in ARITHMETIC:
            controls |= set(node.args) & within
    return {v for v in controls if not _hands_on(v, within) and not is_learned(v)}


def _hands_on(value: Expr, within: set[Expr]) -> bool:
    """Whether a value only passes on what is between 0 and 1 already, as 1 - z does."""
    computed = [a for a in value.args if a.args]
    return (
        isinstance(value, Apply)
        and value.function in ARITHMETIC
        and bool(computed)
        and all(a in within for a in computed)
    )


def squashed_values(nodes: Iterable[Expr]) -> set[Expr]:
    """Those of the nodes that lie between 0 and 1 whatever comes in."""
    nodes = list(nodes)
    shares = {n: Range(0.0, 1.0) for n in nodes if _is_softmax(n)}
    found = ranges(nodes, shares)
    return {n for n in nodes if n.args and found[n].low >= 0 and found[n].high <= 1}


def _is_softmax(node: Expr) -> bool:
    """Whether a node is a softmax, whose range its parts do not show."""
    if not isinstance(node, Apply) or node.function != "div":
        return False
    inner = [v for v in postorder([node.args[0]]) if v.args]
    return any(softmax(v) is node for v in inner[:-1])


def is_learned(value: Expr) -> bool:
    """Whether a value depends on nothing but learned numbers and constants."""
    return all(n.role == "parameter" for n in postorder([value]) if isinstance(n, Symbol))


def memory_of(cell: Cell) -> set[tuple[Expr, Expr]]:
    """The memory's path: every step from a state to its own new value that is arithmetic alone.

    Returns:
        The steps as (value, what is computed from it). Empty where each state is overwritten, as
        in the vanilla RNN. The gates on the way are no part of the path.
    """
    steps: set[tuple[Expr, Expr]] = set()
    for state, new in zip(cell.states, cell.next_states, strict=True):
        carrying: set[Expr] = {state}
        for node in postorder([new]):
            if any(a in carrying for a in _carried(node)):
                carrying.add(node)
        if new not in carrying:
            continue
        reached, open_ = {new}, [new]
        while open_:
            node = open_.pop()
            for a in _carried(node):
                if a in carrying:
                    steps.add((a, node))
                    if a not in reached:
                        reached.add(a)
                        open_.append(a)
    return steps


def _carried(node: Expr) -> tuple[Expr, ...]:
    """The arguments that a node hands on: not the condition of a `where`."""
    if not isinstance(node, Apply) or node.function not in ARITHMETIC:
        return ()
    return node.args[1:] if node.function == "where" else node.args
