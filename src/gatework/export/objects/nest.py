"""Loops over the units of a row, and the values that they read."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gatework.backends.cpu.vector.values import Index, Value
from gatework.export.objects.memory import Row
from gatework.lang.axes import SCALAR, slots
from gatework.lang.expressions import Const, Count, Expr

if TYPE_CHECKING:
    from gatework.export.objects.step import Step


class Nest:
    """Loops over all units of a size, the last axis a vector at a time."""

    def __init__(self, step: Step, size: str, lanes: int | None = None) -> None:
        self.step, self.size = step, size
        self.lanes = step.vector.lanes if lanes is None else lanes
        self.axes = slots(size)
        named = [k for k, a in enumerate(self.axes) if a != SCALAR]
        self.last = named[-1] if named else len(self.axes) - 1
        self.known: dict[Expr, Value] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Nest:
        b, counts = self.step.b, [self.step.sizes[a] for a in self.axes]
        steps = [self.lanes if k == self.last else 1 for k in range(len(counts))]
        self.index = [
            self._stack.enter_context(b.loop(n, step=s)) if n > 1 else 0
            for n, s in zip(counts, steps, strict=True)
        ]
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def unit(self, size: str) -> Index:
        """Which unit of a row of a size belongs to where the loops are."""
        if size == SCALAR:
            return 0
        b = self.step.b
        sizes = [self.step.sizes[a] for a in slots(size)]
        found: Index = 0
        for k, (index, axis) in enumerate(zip(self.index, slots(size), strict=True)):
            if axis == self.axes[k] and axis != SCALAR:
                found = b.add(found, b.mul(index, math.prod(sizes[k + 1 :])))
        return found

    def single(self, row: Row, size: str) -> Value:
        """The number of a row."""
        return self.step.get(row, self.unit(size))

    def get(self, node: Expr) -> Value:
        """A vector of a value, the same number in all lanes where the value lacks the last axis."""
        if node in self.known:
            return self.known[node]
        step, vector = self.step, self.step.vector
        if isinstance(node, Const | Count):
            return vector.const(step.number(node))
        row, size = step.row(node), node.size
        if size == SCALAR or slots(size)[self.last] == SCALAR:
            return step.b.broadcast(self.single(row, size), vector)
        return step.b.load(step.address(row, self.unit(size)), vector.type)
