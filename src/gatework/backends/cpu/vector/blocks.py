"""Panels: the right-hand operand of a product, in the order in which the tile reads it.

A matrix M[K, N] lies in blocks of columns, [block][k][V·W], each block as wide as a tile; the
last block has only as many vectors as it needs. What stands behind the N columns is never read.

Letters: K the length of the sums, N columns, W lanes of a vector, V vectors of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatework.backends.cpu.vector.values import Vector


@dataclass(frozen=True)
class Blocks:
    """How N columns are divided into blocks of at most V vectors."""

    columns: int
    vector: Vector
    widest: int  # V

    @property
    def vectors(self) -> int:
        """Vectors that N columns need."""
        return -(-self.columns // self.vector.lanes)

    @property
    def count(self) -> int:
        """Blocks."""
        return -(-self.vectors // self.widest)

    @property
    def width(self) -> int:
        """Columns of every block but the last."""
        return min(self.widest, self.vectors) * self.vector.lanes

    @property
    def last(self) -> int:
        """Vectors of the last block."""
        return self.vectors - (self.count - 1) * self.widest

    def size(self, k: int) -> int:
        """Elements of the panels of K rows."""
        return self.vectors * self.vector.lanes * k
