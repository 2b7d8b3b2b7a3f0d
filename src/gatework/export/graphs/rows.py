"""Expressions as nodes: the same walk as the reference backend's, with nodes in place of tensors.

Legend: n units of a row; a row is a value [..., n], where it has axes [..., *axes], 1 for those
that it lacks. It leads with [T, B] before and after a loop, with [B] in it, with nothing where it
is the same for all sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from gatework.errors import InputError
from gatework.export.graphs.functions import WRITERS
from gatework.export.graphs.graph import Graph, Numbers
from gatework.lang.axes import SCALAR, has_axes, lacking, places, slots
from gatework.lang.definition import Parameter, block_of
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Matrix,
    Product,
    Reduce,
    Symbol,
    postorder,
)
from gatework.lang.sizes import units

REDUCTIONS = {"sum": "ReduceSum", "max": "ReduceMax"}


class Row(NamedTuple):
    """A value of the graph, and how many axes it has before its units."""

    name: str
    lead: int


class Learned:
    """The weights of one layer in one direction, as constants of a graph."""

    def __init__(
        self,
        graph: Graph,
        parameters: Iterable[Parameter],
        arrays: Mapping[str, Numbers],
        sizes: Mapping[str, int],
    ) -> None:
        self.graph, self.arrays, self.sizes = graph, arrays, sizes
        self._spans = {p.name: p.spans(sizes) for p in parameters}

    def block(self, node: Symbol | Matrix) -> Numbers:
        """One gate's rows of a stacked parameter."""
        parameter, block = block_of(node)
        return self.arrays[parameter][self._spans[parameter][block]]

    def vector(self, node: Symbol, shape: list[int]) -> str:
        """A learned row."""
        return self.graph.weight(self.block(node).reshape(shape), node.name)

    def matrices(self, nodes: list[Product]) -> str:
        """Matrices of one row, side by side, [columns, rows] for a row from the left."""
        each = [self.block(n.matrix) for n in nodes]
        sides = [w if n.transposed else w.T for n, w in zip(nodes, each, strict=True)]
        return self.graph.weight(np.concatenate(sides, 1), f"weight_{nodes[0].matrix.group}")

    def per_head(self, node: Product, heads: int) -> str:
        """The matrices of all heads, [heads, columns, rows]."""
        weight = self.block(node.matrix)
        each = weight.reshape(heads, -1, weight.shape[1])
        sides = each if node.transposed else each.swapaxes(1, 2)
        return self.graph.weight(sides, f"weight_{node.matrix.group}")


class Rows:
    """What has been written of some expressions, by expression.

    Args:
        graph: Where nodes go.
        learned: The weights.
        known: The rows that come from outside.
        around: The rows of the graph around a body, where all is written that no step changes.
    """

    def __init__(
        self,
        graph: Graph,
        learned: Learned,
        known: Mapping[Expr, Row],
        around: Rows | None = None,
    ) -> None:
        self.graph, self.learned, self.sizes = graph, learned, learned.sizes
        self.around = around
        self.fixed: set[Expr] = set()  # what is written around
        self.known: dict[Expr, Row] = {}
        for symbol, row in known.items():
            self.take(symbol, row)

    def take(self, value: Expr, row: Row) -> None:
        """Know a flat row as the value of an expression."""
        self.known[value] = self.shaped(row, value.size)

    def write(self, roots: Iterable[Expr]) -> None:
        """Write whatever some values are computed from, and these."""
        nodes = postorder(roots, until=self.known)
        order = [n for n in nodes if n not in self.known and not isinstance(n, Const)]
        if self.around is not None:
            moving = self._moving(order)
            self._write_around([n for n in order if n not in moving])
        for node in order:
            if node not in self.known:
                self.known.update(self.evaluate(node, order))

    def _moving(self, order: Iterable[Expr]) -> set[Expr]:
        """Those of some values, arguments first, that are others at each step."""
        here = self.known.keys() - self.fixed
        for node in order:
            if any(a in here for a in node.args):
                here.add(node)
        return here

    def _write_around(self, nodes: list[Expr]) -> None:
        """Take values from the graph around."""
        assert self.around is not None
        self.around.write(nodes)
        self.known.update({n: self.around.known[n] for n in nodes})
        self.fixed.update(nodes)

    def row_of(self, value: Expr) -> Row:
        """A value that is written; a number is when it is first needed as a row."""
        if isinstance(value, Const):
            return Row(self.graph.numbers(np.full(self.axes(value.size), value.value)), 0)
        return self.known[value]

    # ---- whole rows ----------------------------------------------------------------------------

    def shaped(self, row: Row, size: str) -> Row:
        """A flat row with an index for each axis of its size."""
        if not has_axes(size):
            return row
        return Row(self.graph.reshape(row.name, row.lead, self.axes(size)), row.lead)

    def flat(self, row: Row, size: str) -> Row:
        """A row [..., n]."""
        if not has_axes(size):
            return row
        return Row(self.graph.reshape(row.name, row.lead, [self.sizes[size]]), row.lead)

    def whole(self, value: Expr, like: Callable[[], tuple[str, int]]) -> str:
        """A value as full rows, one for each that there is: `like` gives [T, B, 1] or [B, 1]."""
        row = self.flat(self.row_of(value), value.size)
        shape, lead = like()
        return row.name if row.lead == lead else self.graph.node("Expand", row.name, shape)

    def axes(self, size: str) -> list[int]:
        """How long each axis of a size is."""
        return [self.sizes[axis] for axis in slots(size)]

    # ---- one value -----------------------------------------------------------------------------

    def evaluate(self, node: Expr, order: Iterable[Expr]) -> dict[Expr, Row]:
        """A value whose arguments are known; with it the other products of the same row."""
        if isinstance(node, Product):
            return self.mapped(node, order)
        return {node: self._row(node)}

    def _row(self, node: Expr) -> Row:
        if isinstance(node, Count):
            return Row(self.graph.numbers(np.full(1, self.sizes[node.of])), 0)
        if isinstance(node, Symbol):
            return Row(self.learned.vector(node, self.axes(node.size)), 0)
        if isinstance(node, Reduce):
            return self.reduced(node)
        if isinstance(node, Arrange):
            return self.arranged(node)
        assert isinstance(node, Apply)
        return self.applied(node)

    def applied(self, node: Apply) -> Row:
        """A function unit by unit."""
        rows = [self.beside(a, node) for a in node.args]
        writer = _form_of(node.function, WRITERS)
        return Row(writer(self.graph, *(r.name for r in rows)), max(r.lead for r in rows))

    def beside(self, argument: Expr, node: Apply) -> Row:
        """An argument that ONNX repeats along whatever axes it lacks."""
        others = (a for a in node.args if not isinstance(a, Const))
        if isinstance(argument, Const) and any(a.size == node.size for a in others):
            return Row(self.graph.number(argument.value), 0)
        return self.with_places(argument, places([node.size]))

    def with_places(self, value: Expr, count: int) -> Row:
        """A row in which a single number [..., 1] has as many axes as rows that have some."""
        row = self.row_of(value)
        if value.size != SCALAR or count == 1:
            return row
        axes = self.graph.integers(range(1 - count, 0))
        return Row(self.graph.node("Unsqueeze", row.name, axes), row.lead)

    def mapped(self, node: Product, order: Iterable[Expr]) -> dict[Expr, Row]:
        """Matrices times a row: all that read it at once."""
        (argument,) = node.args
        row = self.flat(self.row_of(argument), argument.size)
        if node.matrix.per is not None:
            return {node: self.mapped_per_head(node, row)}
        together = [n for n in order if _is_plain(n) and n.args == node.args]
        found: list[Product] = [n for n in together if isinstance(n, Product)]
        product = self.graph.node("MatMul", row.name, self.learned.matrices(found))
        lengths = [self.sizes[n.size] for n in found]
        parts = [product]
        if len(found) > 1:
            names = [n.matrix.gate for n in found]
            split = [product, self.graph.integers(lengths)]
            parts = self.graph.several("Split", split, names, axis=-1)
        pairs = zip(found, parts, strict=True)
        return {n: self.shaped(Row(part, row.lead), n.size) for n, part in pairs}

    def mapped_per_head(self, node: Product, row: Row) -> Row:
        """For each index of an axis a matrix times what this has of the row."""
        heads, graph = node.matrix.heads(self.sizes), self.graph
        columns = self.sizes[node.args[0].size] // heads
        each = graph.reshape(row.name, row.lead, [heads, 1, columns])
        product = graph.node("MatMul", each, self.learned.per_head(node, heads))
        flat = graph.reshape(product, row.lead, [self.sizes[node.size]])
        return self.shaped(Row(flat, row.lead), node.size)

    def reduced(self, node: Reduce) -> Row:
        """The sum or maximum of a row along the axes that the result lacks."""
        (argument,) = node.args
        axes = slots(lacking(argument.size, node.size))
        along = self.graph.integers([k - len(axes) for k, a in enumerate(axes) if a != SCALAR])
        row = self.row_of(argument)
        value = self.graph.node(REDUCTIONS[node.function], row.name, along, keepdims=1)
        if len(axes) > 1 and not has_axes(node.size):
            value = self.graph.reshape(value, row.lead, [1])
        return Row(value, row.lead)

    # ---- units in other places -----------------------------------------------------------------

    def arranged(self, node: Arrange) -> Row:
        """Whole rows with their units in other places along an axis."""
        if node.kind == "rename":
            return self.renamed(node)
        count = places([node.size, *(a.size for a in node.args)])
        rows = [self.with_places(a, count) for a in node.args]
        dim, n = node.axis - count, units(node.length(), self.sizes)
        if node.kind == "cat":
            found = self.side_by_side(node, rows, dim, n)
        else:
            found = Row(self.along(node, rows[0], dim, n), rows[0].lead)
        if count > 1 and node.size == SCALAR:
            return Row(self.graph.reshape(found.name, found.lead, [1]), found.lead)
        return found

    def along(self, node: Arrange, row: Row, dim: int, n: int) -> str:
        """One row arranged along an axis of n units."""
        graph = self.graph
        match node.kind:
            case "shift":
                by = max(-n, min(n, node.details[0]))
                return self.padded(row.name, by, -by, dim)
            case "cumsum":
                reverse = int(node.details[0])
                return graph.node("CumSum", row.name, graph.integers([dim]), reverse=reverse)
            case "part":
                start = units(node.details[0], self.sizes, 0)
                return graph.slice(row.name, start, start + n, dim)
        index = graph.integers(_form_of(node.kind, SOURCES)(node.details, n))
        return graph.node("Gather", row.name, index, axis=dim)

    def padded(self, value: str, before: int, after: int, dim: int) -> str:
        """A row with zeros on both sides along an axis; a negative number takes units away."""
        pads, axis = self.graph.integers([before, after]), self.graph.integers([dim])
        return self.graph.node("Pad", value, pads, "", axis)

    def side_by_side(self, node: Arrange, rows: list[Row], dim: int, n: int) -> Row:
        """Rows beside each other along an axis, zeros where no row is."""
        parts = []
        for row, argument, start in zip(rows, node.args, node.details, strict=True):
            before = units(start, self.sizes, 0)
            after = n - before - units(node.length(argument), self.sizes)
            parts.append(self.padded(row.name, before, after, dim))
        return Row(self.graph.node("Sum", *parts), max(r.lead for r in rows))

    def renamed(self, node: Arrange) -> Row:
        """The axes of a row in another order, those that it lacks where the result lacks one."""
        (origins,), row = node.details, self.row_of(node.args[0])
        rest = iter({*range(len(origins))} - {*origins})
        order = [next(rest) if k < 0 else k for k in origins]
        perm = [*range(row.lead), *(row.lead + k for k in order)]
        return Row(self.graph.node("Transpose", row.name, perm=perm), row.lead)


Form = TypeVar("Form")


def _form_of(name: str, forms: Mapping[str, Form]) -> Form:
    if name in forms:
        return forms[name]
    raise InputError(
        f"a cell with {name!r}, which has no ONNX form",
        f"one of {', '.join(sorted(forms))}",
        "write the cell with those",
    )


def _is_plain(node: Expr) -> bool:
    return isinstance(node, Product) and node.matrix.per is None


# Of an arrangement's details and the number of units: which unit comes to each place.
SOURCES: dict[str, Callable[..., list[int]]] = {
    "roll": lambda details, n: [(k - details[0]) % n for k in range(n)],
    "flip": lambda details, n: list(range(n))[::-1],
    "take": lambda details, n: list(details[0]),
}
