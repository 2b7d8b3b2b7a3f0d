"""A sequence in parts that never meet: the heads of a memory, or some of its columns.

An axis is free where every value that has it is made, index by index, of values at the same index:
nothing is summed, moved or mapped along it. Blocks then take some of its indices each, and run the
same plan with that part of the axis alone. A value that lacks the axis is the same in all of them:
each computes it, and stores the same number at the same place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.machine import Machine
from gatework.compiler.plan import Plan
from gatework.lang.axes import SCALAR, has_axes, slots
from gatework.lang.expressions import Arrange, Expr, Product, Reduce, postorder
from gatework.lang.sizes import names_in

LEAST = 512  # numbers that a part has at least: of its longest row, and of its matrices
LANES = 32  # neighbouring units of the last axis that stay together
MOST = 8  # blocks for each multiprocessor

Parts = Mapping[str, int]  # how many parts an axis has


def parts_of(plan: Plan, setting: Setting, machine: Machine) -> Parts:
    """How the axes of a plan are divided: the first one as far as may be, then the last one."""
    sizes = setting.sizes
    states = [s.size for s in (*plan.recurrence.states, *(r.state for r in plan.replays))]
    longest = max((s for s in states if has_axes(s)), key=sizes.__getitem__, default=SCALAR)
    blocks = MOST * machine.processors // max(1, setting.batch)
    weights = sum(p.matrix.weights(sizes) for p in _products(plan))
    left, found = min((sizes[longest] + weights) // LEAST, blocks), {}
    named = [axis for axis in slots(longest) if axis != SCALAR]
    for axis in dict.fromkeys((named[0], named[-1]) if len(named) > 1 else ()):
        together = LANES if axis == named[-1] else 1
        parts = max((p for p in _divisors(sizes[axis] // together) if p <= left), default=1)
        if parts > 1 and sizes[axis] % (parts * together) == 0 and is_free(axis, plan):
            found[axis], left = parts, left // parts
    return found


def _products(plan: Plan) -> set[Product]:
    """The products of the loop."""
    return {node for node in _nodes(plan) if isinstance(node, Product)}


def is_free(axis: str, plan: Plan) -> bool:
    """Whether the indices of an axis never meet in the loop."""
    return all(_keeps_apart(axis, node) for node in _nodes(plan))


def _nodes(plan: Plan) -> Iterator[Expr]:
    """All that the loop reads and computes."""
    roots = (*plan.next_states, *plan.written.values(), *(r.new for r in plan.replays))
    return postorder(roots)


def _keeps_apart(axis: str, node: Expr) -> bool:
    """Whether a value at an index of an axis is made of values at that index alone."""
    sizes = [node.size, *(a.size for a in node.args)]
    met = [slot for size in sizes for slot in slots(size) if axis in names_in(slot)]
    if isinstance(node, Product):
        return node.matrix.per == axis
    if any(slot != axis for slot in met) or any(axis == size for size in sizes):
        return False
    if isinstance(node, Reduce):
        return axis not in slots(node.args[0].size) or axis in slots(node.size)
    if isinstance(node, Arrange) and met:
        return node.kind != "rename" and axis not in (
            node.length(), *(node.length(row) for row in node.args)
        )  # fmt: skip
    return True


def _divisors(n: int) -> Iterator[int]:
    return (p for p in range(1, n + 1) if n % p == 0)


def part(axis: str, parts: Parts) -> str:
    """Which part of an axis a block has, as the text calls it."""
    return f"part_{list(parts).index(axis)}"


def declared(parts: Parts) -> Iterator[str]:
    """Which part a block has of each axis, from its number among all `part`."""
    before = 1
    for axis, count in parts.items():
        yield f"const int {part(axis, parts)} = part / {before} % {count};"
        before *= count


class Where:
    """Where the units of a part of a row are in the whole row.

    Args:
        size: The size of the row.
        sizes: How long each axis is.
        parts: How the axes are divided.
    """

    def __init__(self, size: str, sizes: Mapping[str, int], parts: Parts) -> None:
        self.first = ""  # what is added to the address, by the part of each divided axis
        self.runs: list[tuple[int, int]] = []  # how many units are a pitch apart, outermost first
        pitch = 1
        for slot in reversed(slots(size) if parts and has_axes(size) else ()):
            whole, count = (1, 1) if slot == SCALAR else (sizes[slot], parts.get(slot, 1))
            if count > 1:
                self.first += f" + {part(slot, parts)} * {whole // count * pitch}"
            self._run(whole // count, pitch)
            pitch *= whole

    def _run(self, length: int, pitch: int) -> None:
        """One axis more on the outside; neighbours that lie like one are one."""
        if self.runs and math.prod(self.runs[0]) == pitch:
            length, pitch = length * self.runs[0][0], self.runs.pop(0)[1]
        self.runs.insert(0, (length, pitch))

    def unit(self, unit: str) -> str:
        """The place of a unit of the part."""
        if len(self.runs) < 2:
            return unit
        terms, inner = [], 1
        for k, (length, pitch) in enumerate(reversed(self.runs), 1):
            around = f" % {length}" if k < len(self.runs) else ""
            terms.append(f"({unit}) / {inner}{around} * {pitch}")
            inner *= length
        return " + ".join(reversed(terms))
