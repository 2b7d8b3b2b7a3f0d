"""The block form of a kernel: a block of threads runs a sequence, whatever its plan is."""

from gatework.backends.gpu.block.build import block

__all__ = ["block"]
