"""What a kernel is compiled for, and the block of arguments through which it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gatework.backends.cpu.vector.blocks import Blocks
from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.target import Target
from gatework.backends.cpu.vector.values import Element, Value, Vector

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
PAGE = 4096  # bytes
ROW_BLOCK = 128  # rows whose products are kept in scratch memory at a time
TERMS = 256  # rows of a chunk of a contraction
FEATURES = 512  # columns of a contraction whose chunk stays in the second-level cache

Weights = Literal["packed", "block", "direct"]  # how matrices are read: see `Setting`


@dataclass(frozen=True)
class Setting:
    """The processor, the precision and the sizes.

    Attributes:
        target: The processor.
        element: The precision.
        sizes: The number of units of each size, by name.
        widest: Vectors of a block of units at most.
        ragged: Whether sequences may have lengths of their own.
        merged: Whether the products of the read sequences are done in the loop.
        weights: How matrices are read: "packed" before anything else; "block", packed one block at
            a time, just before it is read; "direct", as they lie.
        together: How many sequences a thread takes through all steps together; 0 for all that are
            its own.
    """

    target: Target
    element: Element
    sizes: Mapping[str, int]
    widest: int
    ragged: bool
    merged: bool
    weights: Weights = "packed"
    together: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What distinguishes this setting from others."""
        sizes = tuple(sorted(self.sizes.items()))
        return (
            self.target, self.element, sizes, self.widest, self.ragged, self.merged, self.weights,
            self.together,
        )  # fmt: skip

    @property
    def vector(self) -> Vector:
        """The vector type."""
        return self.target.vector(self.element)

    def blocks(self, size: str) -> Blocks:
        """How the units of a size are divided."""
        return Blocks(self.sizes[size], self.vector, self.widest)


HEADER = {
    "ticket": 0,  # the next thread's number
    "barrier": 8,  # arrivals; on a cache line of its own
    "team": 16,  # a function that gives the number of threads at work, or 0
    "threads": 17,  # that number where there is no such function
    "steps": 18,
    "batch": 19,
    "first": 20,  # the first step to run
    "stride": 21,  # 1 or -1
    "reverse": 22,  # 0 or 1
    "shared": 23,  # 1: threads share the units of a row; 0: each has rows of its own
    "lengths": 24,  # i64 [B], of ragged kernels
    "rows": 25,  # i64 [B], the order of the sequences
    "all rows": 26,  # i64 [N], the rows t·B + b of steps that are run
    "row count": 27,  # N
    "parts": 28,  # how many parts the order of the sequences falls into
    "scratch": 29,
    "scratch size": 30,  # elements a thread
    "numbers": 31,  # i64 0, 1, 2, ...
    "packed": 32,  # 1: the panels hold the packed weights already
    "phase": 33,  # steps that were run before this call: which of two slots is the old one
    "carried": 34,  # 1: the states are in their slots already, and stay there
    "zeros": 35,  # a row of zeros
}
POINTERS = 40  # where the named pointers begin


@dataclass
class Arguments:
    """The block of i64 through which a kernel is called: the header, then pointers by name."""

    names: dict[str, int] = field(default_factory=dict)

    def index(self, name: str) -> int:
        """The position of an argument, a new one when the name is new."""
        if name in HEADER:
            return HEADER[name]
        return self.names.setdefault(name, POINTERS + len(self.names))

    @property
    def count(self) -> int:
        """Length of the block."""
        return POINTERS + len(self.names)

    def number(self, b: Builder, args: Value, name: str) -> Value:
        """A number of the header."""
        return b.load(b.at(args, "i64", HEADER[name]), "i64", 8)

    def pointer(self, b: Builder, args: Value, name: str) -> Value:
        """An argument as an address."""
        return b.load(b.at(args, "i64", self.index(name)), "ptr", 8)
