"""What the CPU backend raises."""

from __future__ import annotations


class CodegenError(NotImplementedError):
    """The plan asks for something this backend has no machine code for."""


class CodeMemoryError(MemoryError):
    """There is no memory that machine code could be put into."""
