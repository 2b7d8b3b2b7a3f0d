"""What is done before the loop: values over all steps that read no state.

Legend: T steps, B sequences, N = T·B rows, n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from gatework.backends.gpu.loop import VECTOR
from gatework.backends.gpu.matmul import matmul
from gatework.backends.gpu.products import Part, part_of, runs, spans, sums
from gatework.backends.gpu.rows import Rows
from gatework.compiler.plan import Plan
from gatework.lang.expressions import Expr, Matrix, Product, Symbol, postorder
from gatework.lang.sizes import Sizes


class Stack(NamedTuple):
    """Values that are one product, Σ W x + Σ b, of the same rows of stacked parameters.

    Attributes:
        values: The values, in the order in which they lie side by side.
        units: The number of units of each.
        factors: What is multiplied, and by which rows of a weight.
        vectors: What is added.
    """

    values: tuple[Expr, ...]
    units: int
    factors: tuple[tuple[Expr, Part], ...]
    vectors: tuple[Part, ...]


class Before:
    """What is done before the loop of a plan.

    Attributes:
        stacks: The products.
        names: The sequences that are read in the result of a product: which, and from which column.
        rest: The others, which torch's operations make of the products and of what is read.
    """

    def __init__(self, plan: Plan, sizes: Sizes) -> None:
        self.stacks = _stacks(plan, sizes)
        of_value = {v: n for n, v in plan.hoisted.items()}
        self.names = {
            of_value[v]: (k, i * stack.units)
            for k, stack in enumerate(self.stacks)
            for i, v in enumerate(stack.values)
            if v in of_value
        }
        self.rest = {n: v for n, v in plan.hoisted.items() if n not in self.names}
        needed = {*postorder(self.rest.values())}
        self._needed = [any(v in needed for v in s.values) for s in self.stacks]

    def pitches(self) -> dict[str, int]:
        """Elements from a row to the next, of the sequences that lie side by side."""
        widths = [len(s.values) * s.units for s in self.stacks]
        return {name: widths[k] for name, (k, _) in self.names.items()}

    def sequences(
        self,
        names: Iterable[str],
        rows: Rows,
        products: Sequence[Tensor],
        rest: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Some of the sequences [T, B, n] out of what was computed, as they lie."""
        found = {}
        for name in names:
            if name in rest:
                found[name] = rest[name]
                continue
            k, column = self.names[name]
            whole = products[k].view(*rows.call.shape, -1)
            found[name] = whole[:, :, column : column + self.stacks[k].units]
        return found

    def run(self, rows: Rows) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The results of the products, [N, columns], and the rest, [T, B, n]."""
        products = [_product(stack, rows) for stack in self.stacks]
        if not self.rest:
            return products, {}
        found: dict[Expr, Tensor] = {}
        for stack, product, needed in zip(self.stacks, products, self._needed, strict=True):
            if needed:
                shape = (*rows.call.shape, len(stack.values), stack.units)
                found.update(zip(stack.values, product.view(shape).unbind(2), strict=True))
        rest = rows.by_operations(self.rest, found)
        return products, {n: _in_memory(v) for n, v in rest.items()}


def _stacks(plan: Plan, sizes: Sizes) -> tuple[Stack, ...]:
    at, items = spans(plan.recurrence, sizes), []
    for value, terms in sums(plan.hoisted.values()).items():
        factors = [t for t in terms if isinstance(t, Product)]
        factors.sort(key=lambda p: p.matrix.group)
        vectors = sorted((t for t in terms if isinstance(t, Symbol)), key=lambda s: s.name)
        arguments = tuple(p.args[0] for p in factors)
        if not any(p.transposed for p in factors):
            nodes: list[Matrix | Symbol] = [*(p.matrix for p in factors), *vectors]
            items.append((value, (value.size, arguments), tuple(part_of(at, n) for n in nodes)))
    arguments_of = {value: arguments for value, (_, arguments), _ in items}
    found = []
    for values, parts in runs(items):
        arguments = arguments_of[values[0]]
        factors_of = tuple(zip(arguments, parts, strict=False))
        units = sizes[values[0].size]
        found.append(Stack(tuple(values), units, factors_of, parts[len(arguments) :]))
    return tuple(found)


def _product(stack: Stack, rows: Rows) -> Tensor:
    """Σ W x + Σ b, [N, columns]."""
    total: Tensor | None = None
    for part in stack.vectors:
        vector = rows.weight(part)
        total = vector if total is None else total + vector
    for argument, part in stack.factors:
        total = matmul(_operand(argument, rows), rows.weight(part).mT, total)
    assert total is not None
    return total


def _in_memory(sequence: Tensor) -> Tensor:
    """The sequence in rows that begin where a kernel may read them: it may be a part of another."""
    sequence = sequence.contiguous()
    return sequence if sequence.data_ptr() % VECTOR == 0 else sequence.clone()


def _operand(argument: Expr, rows: Rows) -> Tensor:
    """What is multiplied, [N, n]."""
    if isinstance(argument, Symbol) and argument.role == "sequence":
        return rows.flat(argument.name)
    return rows.by_operations({"": argument}, {})[""].flatten(0, 1)
