"""Products of a sum as the text has them, and those at the same place of several sums.

In the text: which of the sums, unit the unit of its result, begin the first one of the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import Row
from gatework.backends.gpu.loop import BYTES
from gatework.lang.expressions import Product


def chosen(names: Sequence[str]) -> str:
    """Of several names that of which one, where they differ.

    Example:
        >>> chosen(["a", "a"]), chosen(["a", "b"])
        ('a', 'which == 0 ? a : b')
    """
    if len(set(names)) == 1:
        return names[0]
    *others, last = names
    return " : ".join([*(f"which == {k} ? {name}" for k, name in enumerate(others)), last])


@dataclass(frozen=True)
class Factor:
    """A product.

    Attributes:
        layout: Where everything lies.
        product: The product.
        row: The row that it maps.
        share: How many units of the result a block computes.
    """

    layout: Layout
    product: Product
    row: Row
    share: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many matrices there are, their rows and columns."""
        return self.heads, self.height, self.width

    @property
    def heads(self) -> int:
        """How many matrices there are."""
        return self.product.matrix.heads(self.layout.sizes)

    @property
    def height(self) -> int:
        """Rows of each of them."""
        return self.layout.units(self.product.matrix.height)

    @property
    def width(self) -> int:
        """Columns of each of them."""
        return self.layout.units(self.product.matrix.width)

    @property
    def vector(self) -> int:
        """Elements that a thread reads together: 16 bytes, where columns are a multiple of that."""
        vector = 16 // BYTES[self.layout.setting.element]
        return vector if self.width % vector == 0 else 1

    def weights(self) -> str:
        """The address of what a block has of the matrices."""
        return self.layout.matrix(self.product.matrix, self.product.transposed, self.share)

    @staticmethod
    def of_row(those: Sequence[Factor], lanes: int) -> str:
        """What a lane has of a row of W times v."""
        one, weights = those[0], chosen([f.weights() for f in those])
        numbers = f"({chosen([f.row.name for f in those])})"
        if one.heads > 1:
            numbers += f" + unit / {one.height} * {one.width}"
        call = f"part_of_row<{one.width}, {lanes}, {one.vector}>"
        return f"{call}(({weights}) + (i64)(unit - begin) * {one.width}, {numbers}, lane)"

    @staticmethod
    def of_columns(those: Sequence[Factor], slices: int, vector: int) -> str:
        """The statement that adds a slice of some columns of W times v."""
        one, names = those[0], [f.weights() for f in those]
        weights, pitch = chosen(names), chosen([f"{name}_pitch" for name in names])
        numbers, column = f"({chosen([f.row.name for f in those])})", "unit - begin"
        if one.heads > 1:
            column = f"(i64)(unit / {one.width}) * {one.height * one.width} + unit % {one.width}"
            numbers += f" + unit / {one.width} * {one.height}"
        call = f"add_columns<{one.height}, {slices}, {vector}>"
        return f"{call}(({weights}) + {column}, {pitch}, {numbers}, slice, sums);"
