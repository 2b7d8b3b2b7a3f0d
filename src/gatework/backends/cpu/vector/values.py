"""Operands of LLVM IR and the types of vectors, as they are written."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Value:
    """An operand: how it is written, and its LLVM type."""

    text: str
    type: str


Index = Value | int
Element = Literal["float", "double"]  # LLVM's names of float32 and float64


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector type: `lanes` elements."""

    element: Element
    lanes: int

    @property
    def type(self) -> str:
        """The LLVM type."""
        return f"<{self.lanes} x {self.element}>"

    @property
    def integers(self) -> str:
        """The LLVM type of integers as wide as the elements, one a lane."""
        return f"<{self.lanes} x i{8 * self.size}>"

    @property
    def mask(self) -> str:
        """The LLVM type of one truth value a lane."""
        return f"<{self.lanes} x i1>"

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return 4 if self.element == "float" else 8

    @property
    def suffix(self) -> str:
        """The type as intrinsic names spell it."""
        return f"v{self.lanes}f{8 * self.size}"

    def const(self, number: float) -> Value:
        """A number in every lane."""
        return Value(f"splat ({self.element} {float_text(number, self.element)})", self.type)

    def integer(self, number: int) -> Value:
        """An integer in every lane."""
        return Value(f"splat (i{8 * self.size} {number})", self.integers)


def float_text(number: float, element: Element) -> str:
    """A floating-point constant; LLVM writes both widths as the bits of a double."""
    if element == "float":
        try:
            number = struct.unpack("<f", struct.pack("<f", number))[0]
        except OverflowError:
            number = float("inf") if number > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
