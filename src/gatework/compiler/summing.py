"""Sums over long rows, such as matrix memories, written so that they take fewer operations.

    Σ (S + q·d)·k  =  Σ S·k + d·Σ q·k    where q·d has an axis that the sum has not, d
    Σ A + Σ B      =  Σ (A + B)          where nothing else needs either

The first for sums that a new state waits for: those are taken in a pass of their own, which need
not compute S + q·d then. The second for all others: to add up the lanes of a vector costs more than
to add to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce as fold
from operator import add, mul

from gatework.compiler.plan import is_long_sum, is_outer
from gatework.lang.axes import is_long, within
from gatework.lang.expressions import Apply, Expr, Reduce, postorder, reduce


def fewer_operations(results: Sequence[Expr], states: int) -> tuple[Expr, ...]:
    """The results of a step, of which the first are the new states, with sums written otherwise."""
    needed = set(postorder(results[:states]))
    results = _rebuilt(results, lambda old, new: _parted(new) if old in needed else new)
    needed, uses = set(postorder(results[:states])), Counter(results)
    uses.update(a for n in postorder(results) for a in n.args)

    def alone(node: Expr) -> bool:
        return is_long_sum(node) and node not in needed and uses[node] == 1

    return _rebuilt(results, lambda old, new: _joined(new) if all(map(alone, old.args)) else new)


def _rebuilt(results: Iterable[Expr], change: Callable[[Expr, Expr], Expr]) -> tuple[Expr, ...]:
    """The results with every value changed, which is given before and after its arguments are."""
    results, done = tuple(results), dict[Expr, Expr]()
    for node in postorder(results):
        new = node.rebuilt(tuple(done[a] for a in node.args)) if node.args else node
        done[node] = change(node, new)
    return tuple(done[r] for r in results)


def _parted(node: Expr) -> Expr:
    """A sum over a product whose one factor has outer products among its terms, these apart."""
    if not is_long_sum(node):
        return node
    factors = tuple(_flat(node.args[0], "mul"))
    for factor in factors:
        others = tuple(f for f in factors if f is not factor)
        terms = tuple(_flat(factor, "add"))
        rest = tuple(t for t in terms if not is_outer(t))
        if 0 < len(rest) < len(terms) and not any(is_long(o.size) for o in others):
            sums = [reduce("sum", fold(mul, (fold(add, rest), *others)), node.size)]
            sums += [_sum_of((*_flat(t, "mul"), *others), node.size) for t in terms if is_outer(t)]
            return fold(add, sums)
    return node


def _sum_of(factors: Iterable[Expr], size: str) -> Expr:
    """The sum over a product; what is the same along it comes last and is a factor of the sum."""
    return reduce("sum", fold(mul, sorted(factors, key=lambda f: within(f.size, size))), size)


def _joined(node: Expr) -> Expr:
    """The sum of two sums as one."""
    if isinstance(node, Apply) and node.function == "add":
        one, other = node.args
        if isinstance(one, Reduce) and isinstance(other, Reduce) and one.size == other.size:
            return reduce("sum", one.args[0] + other.args[0], node.size)
    return node


def _flat(value: Expr, function: str) -> Iterator[Expr]:
    """The terms of a long sum or the factors of a long product, those of inner ones as well."""
    if isinstance(value, Apply) and value.function == function and is_long(value.size):
        for a in value.args:
            yield from _flat(a, function)
    else:
        yield value
