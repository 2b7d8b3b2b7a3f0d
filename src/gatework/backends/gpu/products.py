"""Products over all steps, of gates that lie side by side: what several of them are as one.

Gates whose blocks lie one after the other in a stacked weight are one product. What comes out lies
side by side in its rows, and each gate is read where it lies. All of this depends on a plan and its
sizes alone and is worked out once.

Legend: T steps, B sequences, N = T·B rows, n units of a row.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from gatework.compiler.recurrence import Recurrence
from gatework.lang.axes import has_axes
from gatework.lang.definition import block_of
from gatework.lang.expressions import Apply, Expr, Matrix, Product, Symbol, postorder
from gatework.lang.sizes import Sizes

Item = TypeVar("Item")
Spans = Mapping[str, Mapping[str, slice]]  # the rows of each block of each parameter


class Part(NamedTuple):
    """Rows of a parameter, or columns of what is written side by side."""

    of: str
    span: slice


def spans(recurrence: Recurrence, sizes: Sizes) -> Spans:
    """The rows of each block of each parameter."""
    return {p.name: p.spans(sizes) for p in recurrence.parameters}


def part_of(at: Spans, node: Matrix | Symbol) -> Part:
    """The rows of a parameter that a matrix or a learned vector stands for."""
    parameter, block = block_of(node)
    return Part(parameter, at[parameter][block])


def runs(
    items: Iterable[tuple[Item, Hashable, tuple[Part, ...]]],
) -> list[tuple[list[Item], tuple[Part, ...]]]:
    """Items whose parts lie one after the other, in all of them, as one.

    Args:
        items: Each with what it must have in common with its neighbours, and its parts.

    Example:
        >>> found = runs((k, None, (Part("weight", slice(k, k + 1)),)) for k in (3, 0, 1))
        >>> [items for items, _ in found]
        [[0, 1], [3]]
    """
    groups: dict[Hashable, list[tuple[Item, tuple[Part, ...]]]] = {}
    for item, key, parts in items:
        groups.setdefault((key, *(p.of for p in parts)), []).append((item, parts))
    found: list[tuple[list[Item], tuple[Part, ...]]] = []
    for group in groups.values():
        before: tuple[Part, ...] | None = None
        for item, parts in sorted(group, key=lambda pair: [p.span.start for p in pair[1]]):
            if before is not None and _follow(before, parts):
                together, whole = found[-1]
                found[-1] = [*together, item], _joined(whole, parts)
            else:
                found.append(([item], parts))
            before = parts
    return found


def _follow(parts: tuple[Part, ...], later: tuple[Part, ...]) -> bool:
    return all(p.span.stop == q.span.start for p, q in zip(parts, later, strict=True))


def _joined(parts: tuple[Part, ...], later: tuple[Part, ...]) -> tuple[Part, ...]:
    pairs = zip(parts, later, strict=True)
    return tuple(Part(p.of, slice(p.span.start, q.span.stop)) for p, q in pairs)


def sums(values: Iterable[Expr]) -> dict[Expr, tuple[Product | Symbol, ...]]:
    """The largest sums of products and learned vectors in some values, and what each adds up.

    All rows of a sum are of one size without axes; maps per head are not among them.
    """
    order = tuple(postorder(values))
    terms: dict[Expr, tuple[Product | Symbol, ...]] = {}
    for node in order:
        if isinstance(node, Apply) and node.function == "add":
            parts = [terms.get(a) for a in node.args]
            if None not in parts and len({a.size for a in node.args}) == 1:
                terms[node] = tuple(t for part in parts if part for t in part)
        elif _is_term(node):
            terms[node] = (node,)  # type: ignore[assignment]
    found: dict[Expr, tuple[Product | Symbol, ...]] = {}
    inside: set[Expr] = set()
    for node in reversed(order):  # results before their arguments
        if node in terms and node not in inside and _has_product(terms[node]):
            found[node] = terms[node]
        if node in found or node in inside:
            inside.update(node.args if isinstance(node, Apply) else ())
    return found


def _is_term(node: Expr) -> bool:
    if isinstance(node, Product):
        return node.matrix.per is None and not has_axes(node.size)
    return isinstance(node, Symbol) and node.role == "parameter" and not has_axes(node.size)


def _has_product(terms: tuple[Expr, ...]) -> bool:
    return any(isinstance(t, Product) for t in terms)
