"""The unit-by-unit part of a stage on one row, a vector of units at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatework.backends.cpu.kernel.setting import ROW_BLOCK
from gatework.backends.cpu.vector import pointwise
from gatework.backends.cpu.vector.elementary import Elementary
from gatework.backends.cpu.vector.errors import CodegenError
from gatework.backends.cpu.vector.masks import lane_mask, masked_load, masked_store
from gatework.backends.cpu.vector.values import Index, Value
from gatework.compiler.passes import Place, Work
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Apply, Const, Count, Expr, postorder

if TYPE_CHECKING:
    from gatework.backends.cpu.kernel.stage import StageWriter


class Row:
    """The evaluation of a work's values on one row, a vector of units at a time."""

    def __init__(
        self, stage: StageWriter, work: Work, row: Value, sums: Value, position: Index = 0
    ) -> None:
        self.stage, self.work, self.sums, self.b = stage, work, sums, stage.b
        self.emit = Elementary(stage.b, stage.vector)
        blocks = stage.setting.blocks(work.size)
        self.partial = blocks.columns % stage.vector.lanes != 0
        self.slots: dict[Expr, int] = {p: k for k, s in enumerate(work.sums) for p in s.products}
        self.step = ROW_BLOCK * blocks.width
        self.known = work.reads
        places = [*self.known.values(), *work.places()]
        self.starts = {p: stage.row(p, row, position) for p in places}
        self.fixed = {n: self._number(p) for n, p in self.known.items() if n.size == SCALAR}

    def _number(self, place: Place) -> Value:
        """The single number of a row, in every lane."""
        number = self.b.load(self.starts[place], self.stage.vector.element, self.stage.vector.size)
        return self.b.broadcast(number, self.stage.vector)

    def vector_at(self, unit: Index, at: Index) -> None:
        """Evaluate every stored value for one vector of units, then store them all."""
        b, v = self.b, self.stage.vector
        self.unit, self.at = unit, at
        columns = self.stage.setting.sizes[self.work.size]
        self.mask = lane_mask(b, v, b.sub(columns, unit)) if self.partial else None
        self.values: dict[Expr, Value] = dict(self.fixed)
        results = [(self.value(node), places) for node, places in self.work.stores]
        for value, places in results:
            for place in places:
                self.put(value, self.stage.element(self.starts[place], unit))

    def put(self, value: Value, address: Value) -> None:
        """Store a vector, no further than the row's end."""
        if self.mask is None:
            self.b.store(value, address, self.stage.vector.size)
        else:
            masked_store(self.b, self.stage.vector, value, address, self.mask)

    def get(self, address: Value) -> Value:
        """Load a vector, no further than the row's end."""
        v = self.stage.vector
        if self.mask is None:
            return self.b.load(address, v.type, v.size)
        return masked_load(self.b, v, address, self.mask)

    def read(self, place: Place) -> Value:
        """A vector of a value that lies in memory."""
        return self.get(self.stage.element(self.starts[place], self.unit))

    def value(self, node: Expr) -> Value:
        """A value and whatever it is computed from, each once."""
        for inner in postorder([node], until={*self.values, *self.known, *self.slots}):
            if inner not in self.values:
                self.values[inner] = self._evaluate(inner)
        return self.values[node]

    def _evaluate(self, node: Expr) -> Value:
        """A value from memory, from the sums of products, or from values that are known by now."""
        stage, b = self.stage, self.b
        if node in self.known:
            return self.read(self.known[node])
        if node in self.slots:
            at = b.add(self.at, self.slots[node] * self.step)
            return b.load(stage.element(self.sums, at), stage.vector.type, stage.vector.size)
        if isinstance(node, Const):
            return self.emit.const(node.value)
        if isinstance(node, Count):
            return self.emit.const(stage.setting.sizes[node.of])
        chain = stage.stage.chains.get(node)
        if chain and chain.sum:
            total = self.values[chain.sum.products[0]]
            for term in chain.others:
                total = b.fadd(total, self.values[term])
            return total
        if not isinstance(node, Apply):
            raise CodegenError(f"the CPU backend has no code for {type(node).__name__}")
        if node.function == "pow" and isinstance(node.args[1], Const):
            return pointwise.power(self.emit, self.values[node.args[0]], node.args[1].value)
        args = tuple(self.values[a] for a in node.args)
        if node.function == "div" and node.args[1].size == SCALAR:
            # one division a row in place of one a vector: the compiler moves it before the loop
            return b.fmul(args[0], b.fdiv(self.emit.const(1), args[1]))
        return pointwise.emit(self.emit, node.function, args)
