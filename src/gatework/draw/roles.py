"""What the values of a cell are for: which are gates, and where its memory runs.

Both are read from the equations, so they hold for any cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Const, Expr, Symbol, postorder
from gatework.lang.words import hardsigmoid, softmax

__all__ = ["gates_of", "memory_of", "squashed_values"]

Range = tuple[float, float]

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg", "where", "minimum", "maximum"})
"""Functions that hand a value on unit by unit, without squashing it."""
ANYTHING: Range = (-math.inf, math.inf)


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
    """Those of the nodes, arguments before results, that lie between 0 and 1 whatever comes in."""
    ranges: dict[Expr, Range] = {}
    for node in nodes:
        ranges[node] = _range(node, ranges)
    return {n for n, (low, high) in ranges.items() if n.args and low >= 0 and high <= 1}


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


# ---- ranges ------------------------------------------------------------------------------------


def _range(node: Expr, known: dict[Expr, Range]) -> Range:
    if isinstance(node, Const):
        return node.value, node.value
    if not isinstance(node, Apply):
        return ANYTHING
    if _is_word(node):
        return 0.0, 1.0
    a = [known[v] for v in node.args]
    rule = _RULES.get(node.function)
    if node.function == "sub" and _is_part_of_maximum(*node.args):
        return -math.inf, 0.0
    return rule(*a) if rule else ANYTHING


def _is_part_of_maximum(value: Expr, highest: Expr) -> bool:
    return isinstance(highest, Apply) and highest.function == "maximum" and value in highest.args


def _is_word(node: Apply) -> bool:
    """Whether a node is a hardsigmoid or a softmax, whose range the parts do not show."""
    if node.function not in ("where", "div"):
        return False
    inner = [v for v in postorder([node]) if v.args]
    return any(word(v) is node for v in inner[-8:-1] for word in (hardsigmoid, softmax))


def _monotone(function: Callable[[float], float]) -> Callable[[Range], Range]:
    return lambda a: (function(a[0]), function(a[1]))


def _exp(v: float) -> float:
    return math.exp(v) if v < 700 else math.inf


def _mul(a: Range, b: Range) -> Range:
    ends = [0.0 if 0.0 in (p, q) else p * q for p in a for q in b]
    return min(ends), max(ends)


_RULES: dict[str, Callable[..., Range]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "neg": lambda a: (-a[1], -a[0]),
    "mul": _mul,
    "where": lambda _, a, b: (min(a[0], b[0]), max(a[1], b[1])),
    "minimum": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "maximum": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    "abs": lambda a: (0.0, max(abs(a[0]), abs(a[1]))),
    "relu": _monotone(lambda v: max(v, 0.0)),
    "sqrt": _monotone(lambda v: math.sqrt(max(v, 0.0))),
    "exp": _monotone(_exp),
    "expm1": _monotone(lambda v: _exp(v) - 1),
    "tanh": _monotone(math.tanh),
    "sigmoid": lambda _: (0.0, 1.0),
    "softplus": lambda a: (0.0, math.inf),
    "sin": lambda _: (-1.0, 1.0),
    "cos": lambda _: (-1.0, 1.0),
}
