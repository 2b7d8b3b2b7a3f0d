"""What the backend asks of a machine: to compile a kernel's text, and to launch it.

`gatework.backends.gpu.driver` is a card with CUDA. The tests have another machine, which runs the
same text on the CPU.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple, Protocol

ENTRY = "run"  # the name of a kernel's function in its text


class Launch(NamedTuple):
    """How a kernel is launched.

    Attributes:
        blocks: How many blocks.
        threads: Threads of a block.
        shared: Bytes of shared memory that a block is given at the launch.
        cluster: Blocks of a cluster, which reach each other's shared memory.
        together: Whether all blocks must be there at the same time, because they wait for each
            other: where they do not fit, the launch is an error, never a hang.
    """

    blocks: int
    threads: int
    shared: int = 0
    cluster: int = 1
    together: bool = False


class Kernel(Protocol):
    """A compiled kernel.

    Attributes:
        registers: Registers of a thread.
        spilled: Bytes of a thread that did not fit in its registers.
        status: The address of an i32 where it says that it has waited too long, for the slot of
            that name; the next launch on the machine then raises a RuntimeError.
    """

    registers: int
    spilled: int
    status: int

    def launch(self, launch: Launch, arguments: array[int]) -> None:
        """Launch it on torch's current stream, with its slots of 8 bytes: addresses and numbers."""


class Machine(Protocol):
    """Where kernels run.

    Attributes:
        architecture: What is compiled for, such as "sm_90a".
        processors: How many multiprocessors it has.
        shared: Bytes of shared memory that a block can have.
        clusters: Whether blocks can reach each other's shared memory.
    """

    architecture: str
    processors: int
    shared: int
    clusters: bool

    def kernel(self, text: str, about: str = "") -> Kernel:
        """The kernel of a text, which is compiled once; what it is, for errors."""

    def resident(self, kernel: Kernel, launch: Launch) -> int:
        """How many clusters of a launch, or blocks without clusters, run at the same time."""
