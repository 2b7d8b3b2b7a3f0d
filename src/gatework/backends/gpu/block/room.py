"""What lies in the shared memory of a block: its rows, then matrices as long as there is room.

A row that does not fit lies in the block's scratch memory, a matrix where the call has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from gatework.backends.gpu.block.layout import Held, Layout
from gatework.backends.gpu.loop import BYTES
from gatework.backends.gpu.machine import Machine

T = TypeVar("T")
SCRATCH = "scratch"
RESIDENT = 4  # blocks of a multiprocessor that share its memory, at most


@dataclass(frozen=True)
class Room:
    """What lies where.

    Attributes:
        rows: Floats of the rows in shared memory, by their names.
        matrices: The matrices there.
        scratch: Floats of the rows in scratch memory.
        far: The matrices that lie where the call has them.
        element: Bytes of an element.
    """

    rows: Mapping[str, int]
    matrices: Mapping[str, Held]
    scratch: Mapping[str, int]
    far: Mapping[str, Held]
    element: int

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        return 4 * sum(self.rows.values()) + self._padded(self.matrices.values())

    @property
    def floats(self) -> int:
        """Floats of scratch memory of a block."""
        return sum(self.scratch.values())

    def _padded(self, matrices: Iterable[Held]) -> int:
        return sum(-(-m.elements * self.element // 16) * 16 for m in matrices)

    def declared(self) -> Iterator[str]:
        """The declarations of all of them, and how matrices get there."""
        at = 0
        for name, floats in self.rows.items():
            yield f"float* const {name} = (float*)(shared_memory() + {at});"
            at += 4 * floats
        for name, matrix in self.matrices.items():
            yield f"el* const {name} = (el*)(shared_memory() + {at});"
            yield f"constexpr int {name}_pitch = {matrix.columns};"
            call = f"copy<{matrix.rows}, {matrix.columns}, {matrix.pitch}>"
            yield f"{call}({matrix.address}, {name}, {matrix.left}, {matrix.across}, thread);"
            at += self._padded([matrix])
        for name, matrix in self.far.items():
            yield f"const el* const {name} = {matrix.address};"
            yield f"constexpr int {name}_pitch = {matrix.pitch};"
        start = 0
        for name, floats in self.scratch.items():
            own = f"arguments.{SCRATCH} + (i64)blockIdx.x * {self.floats}"
            yield f"float* const {name} = {own} + {start};"
            start += floats


def room(layout: Layout, machine: Machine) -> Room:
    """What lies where: rows first, the short ones before the long ones; the same of matrices.

    Held are held where the card has few blocks to run: else several of them on one
    multiprocessor hide each other's ways to memory.
    """
    element = BYTES[layout.setting.element]
    rows, scratch = _fitting(
        layout.rows, {n: 4 * k for n, k in layout.rows.items()}, machine.shared
    )
    blocks = -(-layout.blocks // machine.processors)
    left = machine.shared // min(RESIDENT, max(1, blocks)) - 4 * sum(rows.values())
    sizes = {n: -(-m.elements * element // 16) * 16 for n, m in layout.matrices.items()}
    near, far = _fitting(layout.matrices, sizes, left)
    return Room(rows, near, scratch, far, element)


def _fitting(
    found: Mapping[str, T], sizes: Mapping[str, int], left: int
) -> tuple[dict[str, T], dict[str, T]]:
    """Those that fit into so many bytes, the small ones first, and the others."""
    near: dict[str, T] = {}
    for name in sorted(found, key=sizes.__getitem__):
        if sizes[name] <= left:
            near[name], left = found[name], left - sizes[name]
    return near, {n: v for n, v in found.items() if n not in near}
