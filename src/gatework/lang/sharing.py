"""Whether the maps of one gate are terms of one sum, or would have to be one shared weight."""

from __future__ import annotations

from collections.abc import Iterable

from gatework.lang.expressions import Apply, Expr, Product, postorder
from gatework.lang.functions import ARITHMETIC


def is_one_sum(gate: str, roots: Iterable[Expr]) -> bool:
    """Whether every sum that has one of a gate's maps as a term has all of them.

    W₁ a + r * W₂ b under one tanh is one gate of two values; tanh(W₁ a) and tanh(W₂ b), or the
    product of both, are not.

    Args:
        gate: The gate.
        roots: What the cell computes.
    """
    roots = tuple(roots)
    terms: dict[Expr, frozenset[Expr]] = {}  # of every value, what the gate maps in its sum
    sums = [*roots]
    for node in postorder(roots):
        parts = [terms[a] for a in node.args]
        if isinstance(node, Product) and node.matrix.gate == gate:
            terms[node] = frozenset(node.args)
            sums += node.args
        elif isinstance(node, Apply) and node.function in ARITHMETIC:  # a term of the sum
            terms[node] = frozenset().union(*parts)
            factors = node.function in ("mul", "div") and all(parts)
            if factors and len(set(parts)) > 1:  # a sum times itself is still one sum
                return False
        else:
            terms[node] = frozenset()
            sums += node.args
    return len({terms[s] for s in sums if terms[s]}) <= 1
