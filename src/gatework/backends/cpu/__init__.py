"""From a plan to machine code for the processor it runs on. Knows no cell."""

from gatework.backends.cpu.backend import Cpu

__all__ = ["Cpu"]
