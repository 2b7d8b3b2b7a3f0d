"""What is done after the loop: outputs that no step waits for, and the gradients of parameters.

Legend: T steps, B sequences, N = T·B rows, n units of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gatework.backends.gpu.matmul import add_matmul, matmul
from gatework.backends.gpu.products import Part, part_of, runs, spans, sums
from gatework.backends.gpu.rows import Rows
from gatework.backends.reference import contracted
from gatework.compiler.plan import Plan
from gatework.lang.expressions import Expr, Product, Symbol, postorder
from gatework.lang.sizes import Sizes

Sides = Mapping[str, Part]  # where written sequences lie side by side


class Term(NamedTuple):
    """Columns times rows of a weight: of ∂L/∂x, the gates' gradients times their weights."""

    columns: Part
    rows: Part


class Gradient(NamedTuple):
    """The gradient of some rows of a weight: columnsᵀ times other columns, by head."""

    rows: Part
    columns: Part
    right: Part
    heads: int


def read_after(plan: Plan) -> set[str]:
    """The sequences that late outputs and the gradients of parameters are computed from."""
    recurrence = plan.recurrence
    read = {n.name for n in postorder(plan.deferred.values()) if isinstance(n, Symbol)}
    read |= {name for c in recurrence.contractions for name in (c.left, c.right)}
    return read | {s.sequence for s in recurrence.summations}


def side_by_side(plan: Plan, sizes: Sizes, own: Collection[str]) -> dict[str, Part]:
    """Where the loop shall write what products read after it: sequences of a size side by side.

    They are in the order of the blocks of the first weight whose gradient reads them, then of those
    of the first learned vector: one sum over all rows serves all vectors.

    Args:
        plan: The plan.
        sizes: The number of units of each size.
        own: The written sequences that may share memory.
    """
    at = spans(plan.recurrence, sizes)
    places: dict[str, tuple[int, str, int]] = {}

    def put(kind: int, name: str, of: Part) -> None:
        if name in own:
            places.setdefault(name, (kind, of.of, of.span.start))

    for c in plan.recurrence.contractions:
        for name in (c.left, c.right):
            put(0, name, part_of(at, c.matrix))
    for s in plan.recurrence.summations:
        put(1, s.sequence, part_of(at, s.parameter))
    found: dict[str, Part] = {}
    for size in dict.fromkeys(plan.written[name].size for name in places):
        names = sorted((n for n in places if plan.written[n].size == size), key=places.__getitem__)
        n = sizes[size]
        if len(names) > 1:
            parts = (Part(f"all of {size}", slice(k * n, k * n + n)) for k in range(len(names)))
            found.update(zip(names, parts, strict=True))
    return found


class After:
    """What is done after the loop of a plan.

    Args:
        plan: The plan.
        sizes: The number of units of each size.
        sides: Where written sequences lie side by side.
        skip: Outputs and gradients that are not wanted.
    """

    def __init__(self, plan: Plan, sizes: Sizes, sides: Sides, skip: frozenset[str]) -> None:
        self.recurrence, self.sizes, self.sides = plan.recurrence, sizes, sides
        self.at = spans(plan.recurrence, sizes)
        wanted = {n: v for n, v in plan.deferred.items() if n not in skip}
        self.sums = self._sums(wanted.values())
        self.whole = {n: v for n, v in wanted.items() if v in self.sums}
        self.rest = {n: v for n, v in wanted.items() if v not in self.sums}
        self.weights = {n: g for n, g in self._weights().items() if n not in skip}
        self.vectors = {n: p for n, p in self._vectors().items() if n not in skip}
        made = {*plan.written, *plan.deferred, *plan.hoisted}
        self.given = [n for n in self._read() if n not in made]

    # ---- once a plan ---------------------------------------------------------------------------

    def _part(self, sequence: str, size: str) -> Part:
        """Where the rows of a sequence are read."""
        return self.sides.get(sequence) or Part(sequence, slice(0, self.sizes[size]))

    def _sums(self, values: Iterable[Expr]) -> dict[Expr, tuple[Term, ...]]:
        """Sums of gradients times weights; those of neighbouring blocks are one product."""
        found = {}
        for value, terms in sums(values).items():
            products = [t for t in terms if isinstance(t, Product) and _turns_a_sequence(t)]
            if len(products) == len(terms):
                parts = [(self._operand(p), part_of(self.at, p.matrix)) for p in products]
                found[value] = tuple(Term(*q) for _, q in runs((None, None, p) for p in parts))
        return found

    def _operand(self, product: Product) -> Part:
        (row,) = product.args
        assert isinstance(row, Symbol)
        return self._part(row.name, row.size)

    def _weights(self) -> dict[str, list[Gradient]]:
        """The gradients of matrices; those of neighbouring blocks are one product."""
        found: dict[str, list[Gradient]] = {}
        items = []
        for c in self.recurrence.contractions:
            heads = c.matrix.heads(self.sizes)
            left, right = self._part(c.left, c.matrix.rows), self._part(c.right, c.matrix.cols)
            parts = part_of(self.at, c.matrix), left
            key = (right.of, right.span.start, right.span.stop, heads, heads > 1 and c.matrix)
            items.append(((right, heads), key, parts))
        for ((right, heads), *_), (rows, left) in runs(items):
            found.setdefault(rows.of, []).append(Gradient(rows, left, right, heads))
        return found

    def _vectors(self) -> dict[str, list[Part | int]]:
        """The gradients of learned vectors: of which columns the sums, or how many zeros."""
        items = [
            (None, None, (self._part(s.sequence, s.parameter.size), part_of(self.at, s.parameter)))
            for s in self.recurrence.summations
        ]
        found: dict[str, list[Part | int]] = {}
        end: dict[str, int] = {}
        for _, (columns, rows) in sorted(runs(items), key=lambda run: run[1][1].span.start):
            gap = rows.span.start - end.get(rows.of, 0)
            found.setdefault(rows.of, []).extend([gap, columns] if gap else [columns])
            end[rows.of] = rows.span.stop
        for p in self.recurrence.parameters:
            gap = p.shape(self.sizes)[0] - end.get(p.name, 0)
            if p.name in found and gap:
                found[p.name].append(gap)
        return found

    def _read(self) -> Iterable[str]:
        """The sequences that are read after the loop, but by torch's operations."""
        for gradients in self.weights.values():
            yield from (p.of for g in gradients for p in (g.columns, g.right))
        for columns in self.vectors.values():
            yield from (c.of for c in columns if isinstance(c, Part))
        for terms in self.sums.values():
            yield from (t.columns.of for t in terms)

    # ---- once a call ---------------------------------------------------------------------------

    def run(self, rows: Rows) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs and the gradients; what the loop wrote stands in the rows by then."""
        if rows.active is not None:
            for name in self.given:
                if name in rows.sequences:
                    rows.sequences[name] = rows.masked(rows.sequences[name])
        late = self._late(rows) if self.whole or self.rest else {}
        rows.sequences.update(late)
        gradients = {n: self._gradient(rows, n, parts) for n, parts in self.weights.items()}
        totals: dict[str, Tensor] = {}
        for name, columns in self.vectors.items():
            gradients[name] = torch.cat([self._total(rows, totals, name, c) for c in columns])
        return late, gradients

    def _late(self, rows: Rows) -> dict[str, Tensor]:
        steps, batch = rows.call.shape
        found = {}
        for value, terms in self.sums.items():
            total: Tensor | None = None
            for term in terms:
                total = matmul(rows.columns(term.columns), rows.weight(term.rows), total)
            assert total is not None
            found[value] = total.view(steps, batch, -1)
        late = {n: found[v] for n, v in self.whole.items()}
        if self.rest:
            late.update(rows.by_operations(self.rest, found))
        return {n: rows.masked(v) for n, v in late.items()}

    def _gradient(self, rows: Rows, name: str, parts: list[Gradient]) -> Tensor:
        """The gradient of a weight."""
        weight = rows.parameters[name]
        if len(parts) == 1 and _is_whole(parts[0].rows, weight) and parts[0].heads == 1:
            return matmul(rows.columns(parts[0].columns).mT, rows.columns(parts[0].right))
        gradient = torch.zeros_like(weight)
        for part in parts:
            into = gradient[part.rows.span]
            left, right = rows.columns(part.columns), rows.columns(part.right)
            if part.heads == 1:
                add_matmul(into, left.mT, right)
            else:
                into.add_(contracted(left, right, part.heads))
        return gradient

    def _total(
        self, rows: Rows, totals: dict[str, Tensor], name: str, columns: Part | int
    ) -> Tensor:
        """The sum over all rows; what lies side by side is summed once. Or so many zeros."""
        if isinstance(columns, int):
            vector: Tensor = rows.parameters[name]
            return vector.new_zeros(columns)
        total = totals.get(columns.of)
        if total is None:
            total = totals[columns.of] = rows.whole(columns.of).sum(0)
        return total[columns.span]


def _turns_a_sequence(product: Product) -> bool:
    (row,) = product.args
    return product.transposed and isinstance(row, Symbol) and row.role == "sequence"


def _is_whole(part: Part, parameter: Tensor) -> bool:
    return bool(part.span.start == 0 and part.span.stop == parameter.shape[0])
