"""The sizes that are measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gatework.errors import InputError

__all__ = ["QUICK", "STREAMED", "TABLE", "Shape", "parse_shapes"]


class Shape(NamedTuple):
    """B sequences, T steps, I input features, H hidden units."""

    batch: int
    steps: int
    features: int
    units: int

    def __str__(self) -> str:
        return ",".join(map(str, self))


TABLE = (
    Shape(1, 100, 64, 128),
    Shape(1, 100, 256, 256),
    Shape(1, 100, 512, 512),
    Shape(16, 100, 256, 256),
    Shape(64, 100, 128, 256),
    Shape(64, 100, 512, 512),
    Shape(128, 50, 1024, 1024),
)
"""From one short sequence, where reading the weights is the work, to large batches."""
QUICK = (TABLE[0], TABLE[3], TABLE[4])
"""What is measured unless something else is asked for: about a minute."""
STREAMED = (Shape(1, 1, 64, 128),)
"""What is measured of streams."""


def parse_shapes(texts: Iterable[str]) -> tuple[Shape, ...]:
    """Return shapes written as B,T,I,H.

    Args:
        texts: one shape or several, separated by spaces, in each.

    Raises:
        InputError: what came is not four whole numbers above 0.

    Example:
        >>> parse_shapes(["1,100,64,128 16,50,32,32"])[1].units
        32
    """
    return tuple(_shape(word) for text in texts for word in text.split())


def _shape(text: str) -> Shape:
    numbers = [int(part) for part in text.split(",") if part.isascii() and part.isdecimal()]
    if text.count(",") == 3 and len(numbers) == 4 and min(numbers) > 0:
        return Shape(*numbers)
    raise InputError(
        f"shape {text!r}",
        "B,T,I,H: sequences, steps, input features and hidden units, whole numbers above 0",
        "write it as 16,100,256,256, without spaces in it",
    )
