"""The code of one step of one block, for one sequence.

    works   the step's stages in order; of each the products of one row together, whole rows, then
            loops over units with all that is computed unit by unit in registers
    places  rows in the memory of a state, and rows of constants

Letters: W lanes of a vector, V vectors of a product's rows at a time.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import torch

from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.values import Index, Value, Vector
from gatework.compiler.plan import Stage, stages
from gatework.errors import InputError
from gatework.export.objects.blocks import Block
from gatework.export.objects.elementary import Freestanding
from gatework.export.objects.memory import Constants, Room, Row, packed, sources
from gatework.export.objects.nest import Nest
from gatework.lang.axes import SCALAR, slots
from gatework.lang.definition import block_of
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
)
from gatework.lang.sizes import Sizes

VECTORS = 8  # V


class Step:
    """Writes the step of a block.

    Args:
        b: The function that it is part of.
        block: What is computed.
        room: The memory of a state, and where it is.
        constants: The numbers that never change, and where they are.
        fused: Whether the machine multiplies and adds in one instruction.
    """

    def __init__(
        self,
        b: Builder,
        block: Block,
        room: tuple[Room, Value],
        constants: tuple[Constants, Value],
        fused: bool,
    ) -> None:
        self.b, self.block = b, block
        (self.room, self.memory), (self.constants, self.data) = room, constants
        self.vector = Vector("float", self.room.lanes)
        self.e = Freestanding(b, self.vector, fused)
        self.sizes = Sizes.of(block.sizes)
        self.rows: dict[Expr, Row] = {}

    def write(self, states: Sequence[int], read: dict[Symbol, int]) -> int:
        """The code, with the places of the states and of what is read; the place of the output."""
        step = self.block.recurrence
        (output,) = step.outputs.values()
        places = {**dict(zip(step.states, states, strict=True)), **read}
        self.rows.update({s: Row(self.memory, place) for s, place in places.items()})
        roots = (*step.next_states, output)
        order = stages(roots)
        self.stored = _read_elsewhere(order, roots)
        for stage in order:
            self.stage(stage)
        result = self.copy(output, output.size)
        new = [self.copy(v, s.size) for v, s in zip(step.next_states, step.states, strict=True)]
        for state, place, row in zip(step.states, states, new, strict=True):
            self.move(row, self.at(place), self.sizes[state.size])
        return result.place

    # ---- places --------------------------------------------------------------------------------

    def new(self, n: int) -> Row:
        """A new row in the memory of the state."""
        return self.at(self.room.take(n))

    def at(self, place: int) -> Row:
        """A row in the memory of the state."""
        return Row(self.memory, place)

    def constant(self, values: torch.Tensor) -> Row:
        """A row of numbers that never change."""
        return Row(self.data, self.constants.put(values))

    def row(self, node: Expr) -> Row:
        """Where a value lies; a number is laid down."""
        if node not in self.rows:
            if isinstance(node, Symbol):
                self.rows[node] = self.constant(self.parameter(node))
            else:
                self.rows[node] = self.constant(
                    torch.full((self.sizes[node.size],), self.number(node))
                )
        return self.rows[node]

    def parameter(self, node: Symbol | Matrix) -> torch.Tensor:
        """One gate's rows of a stacked parameter."""
        name, gate = block_of(node)
        parameters = self.block.recurrence.parameters
        spans = next(p for p in parameters if p.name == name).spans(self.sizes)
        return self.block.parameters[name][spans[gate]]

    def number(self, node: Expr) -> float:
        """The value of a number, or of a count of units."""
        if isinstance(node, Count):
            return float(self.sizes[node.of])
        assert isinstance(node, Const)
        return node.value

    def address(self, row: Row, unit: Index = 0) -> Value:
        """Where a unit of a row lies."""
        return self.b.at(row.base, "float", self.b.add(unit, row.place))

    def get(self, row: Row, unit: Index) -> Value:
        """A single number."""
        return self.b.load(self.address(row, unit), "float")

    def move(self, row: Row, to: Row, n: int) -> None:
        """Copy a row."""
        with self.b.loop(n, step=self.vector.lanes) as i:
            self.b.store(self.b.load(self.address(row, i), self.vector.type), self.address(to, i))

    def copy(self, value: Expr, size: str) -> Row:
        """A value as a full row of a size: where it lies, unless that is no place of its own."""
        if value.args and value.size == size:
            return self.row(value)
        target = self.new(self.sizes[size])
        with Nest(self, size) as nest:
            self.b.store(nest.get(value), self.address(target, nest.unit(size)))
        return target

    # ---- a stage -------------------------------------------------------------------------------

    def stage(self, stage: Stage) -> None:
        """All that a stage computes, in an order in which everything is there when it is read."""
        for products in _together(stage.products):
            self.products(products)
        for node in stage.rows():
            self.arranged(node) if isinstance(node, Arrange) else self.reduced(node)
        sizes = dict.fromkeys(v.size for v in stage.values)
        for size in sorted(sizes, key=lambda s: s != SCALAR):  # single numbers first
            self.unit_by_unit([v for v in stage.values if v.size == size], size)
        for node in stage.along:
            self.reduced(node)

    def unit_by_unit(self, values: Sequence[Apply], size: str) -> None:
        """Values of one size in one loop over its units."""
        for value in values:
            if value in self.stored:
                self.rows[value] = self.new(self.sizes[size])
        with Nest(self, size) as nest:
            for value in values:
                found = self.e.apply(value, tuple(nest.get(a) for a in value.args))
                nest.known[value] = found
                if value in self.stored:
                    self.b.store(found, self.address(self.rows[value], nest.unit(size)))

    # ---- products ------------------------------------------------------------------------------

    def products(self, products: Sequence[Product]) -> None:
        """Products of one row by one matrix, which has the rows of them all."""
        weights = [self.weight(p) for p in products]
        row, lanes = self.row(products[0].args[0]), self.vector.lanes
        heads = products[0].matrix.heads(self.sizes)
        if heads > 1:
            target = self.rows[products[0]] = self.new(self.sizes[products[0].size])
            for k, weight in enumerate(weights[0].chunk(heads)):
                n, m = weight.shape
                self.product(
                    weight, Row(row.base, row.place + k * m), self.at(target.place + k * n)
                )
            return
        filled = [torch.nn.functional.pad(w, (0, 0, 0, -len(w) % lanes)) for w in weights]
        target = self.new(sum(map(len, filled)))
        self.product(torch.cat(filled), row, target)
        place = target.place
        for product, weight in zip(products, filled, strict=True):
            self.rows[product] = self.at(place)
            place += len(weight)

    def weight(self, node: Product) -> torch.Tensor:
        """The matrix of a product, transposed where the product is."""
        weight = self.parameter(node.matrix)
        heads = node.matrix.heads(self.sizes) if node.transposed else 0
        return torch.cat([w.T for w in weight.chunk(heads)]) if heads else weight

    def product(self, weight: torch.Tensor, row: Row, target: Row) -> None:
        """A matrix times a row."""
        rows, cols = weight.shape
        lanes, data = self.vector.lanes, self.constant(packed(weight, self.vector.lanes, VECTORS))
        height = lanes * VECTORS
        full, rest = divmod(-(-rows // lanes), VECTORS)
        with self.b.loop(full) as k:
            first = self.b.mul(k, height * cols)
            self.tile((data, first), row, (target, self.b.mul(k, height)), cols, VECTORS)
        if rest:
            first = full * height * cols
            self.tile((data, first), row, (target, full * height), cols, rest)

    def tile(
        self, weights: tuple[Row, Index], row: Row, target: tuple[Row, Index], cols: int, count: int
    ) -> None:
        """So many vectors of a product's rows, from where the weights and the result begin."""
        b, vector = self.b, self.vector
        sums = [b.slot(vector.type) for _ in range(count)]
        for one in sums:
            b.store(vector.const(0), one)
        with b.loop(cols) as j:
            x = b.broadcast(self.get(row, j), vector)
            column = b.add(weights[1], b.mul(j, count * vector.lanes))
            for k, one in enumerate(sums):
                unit = b.add(column, k * vector.lanes)
                w = b.load(self.address(weights[0], unit), vector.type)
                b.store(b.fma(w, x, b.load(one, vector.type)), one)
        for k, one in enumerate(sums):
            unit = b.add(target[1], k * vector.lanes)
            b.store(b.load(one, vector.type), self.address(target[0], unit))

    # ---- whole rows ----------------------------------------------------------------------------

    def reduced(self, node: Reduce) -> None:
        """A sum or maximum along the axes that the result lacks, number by number."""
        b, (argument,) = self.b, node.args
        target, source = self.new(self.sizes[node.size]), self.row(argument)
        self.rows[node] = target
        start = self.vector.const(0 if node.function == "sum" else -math.inf)
        with b.loop(self.sizes[node.size], step=self.vector.lanes) as i:
            b.store(start, self.address(target, i))
        with Nest(self, argument.size, lanes=1) as nest:
            to, value = (
                self.address(target, nest.unit(node.size)),
                nest.single(source, argument.size),
            )
            so_far = b.load(to, "float")
            join = b.fadd if node.function == "sum" else b.fmaximum
            b.store(join(so_far, value), to)

    def arranged(self, node: Arrange) -> None:
        """Whole rows with their units in other places, unit by unit from where each comes."""
        n = self.sizes[node.size]
        self.rows[node] = self.new(n)
        if node.kind == "cumsum":
            self.running_sum(node, self.rows[node])
            return
        if node.kind == "index_add":
            raise InputError("a cell with index_add", "a forward cell", "use take in its place")
        units = (self.sizes[argument.size] for argument in node.args[:-1])
        table, starts = sources(node, self.sizes), [*accumulate(units, initial=1)]
        for first, stop in _runs(table, starts):
            k = bisect(starts, table[first]) - 1  # -1 where zeros come in
            source = (k, table[first] - first - starts[k]) if table[first] else None
            self.gather(node, (first, stop), source)

    def gather(self, node: Arrange, span: tuple[int, int], source: tuple[int, int] | None) -> None:
        """Units in a row that come from units in a row, or zeros."""
        target, zero = self.rows[node], Value("0.0", "float")
        with self.b.loop(span[1], start=span[0]) as i:
            value = zero
            if source:
                value = self.get(self.row(node.args[source[0]]), self.b.add(i, source[1]))
            self.b.store(value, self.address(target, i))

    def running_sum(self, node: Arrange, target: Row) -> None:
        """The sums of all units up to each along an axis, or from each on."""
        argument, backwards = node.args[0], bool(node.details[0])
        names = slots(node.size)
        n = self.sizes[names[node.axis]]
        inner = math.prod(self.sizes[a] for a in names[node.axis + 1 :])
        outer, source, b = self.sizes[node.size] // (n * inner), self.row(argument), self.b
        with b.loop(outer) as o, b.loop(inner) as i:
            begin = b.add(b.mul(o, n * inner), i)
            total = b.slot("float")
            b.store(Value("0.0", "float"), total)
            with b.loop(n) as k:
                along = b.sub(n - 1, k) if backwards else k
                unit = b.add(begin, b.mul(along, inner))
                b.store(b.fadd(b.load(total, "float"), self.get(source, unit)), total)
                b.store(b.load(total, "float"), self.address(target, unit))


def _together(products: Iterable[Product]) -> list[list[Product]]:
    """Products of the same row, which are one; those per head are apart."""
    found: dict[object, list[Product]] = {}
    for p in products:
        found.setdefault(p.args[0] if p.matrix.per is None else p, []).append(p)
    return list(found.values())


def _read_elsewhere(order: Sequence[Stage], roots: Iterable[Expr]) -> set[Expr]:
    """What must be laid down: results, and what is read outside the loop that computes it."""
    loop = {v: (k, v.size) for k, stage in enumerate(order) for v in stage.values}
    stored = set(roots)
    for node in (n for stage in order for n in stage.nodes()):
        own = loop.get(node) if isinstance(node, Apply) else None
        stored |= {a for a in node.args if own is None or loop.get(a) != own}  # type: ignore[call-overload]
    return stored


def _runs(table: Sequence[int], starts: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches of units, from where to where, that come from a stretch of one row, or are zero."""

    def goes_on(i: int) -> bool:
        if not table[i]:
            return not table[i - 1]
        return table[i] == table[i - 1] + 1 and table[i] not in starts

    cuts = [0, *(i for i in range(1, len(table)) if not goes_on(i)), len(table)]
    return list(pairwise(cuts))
