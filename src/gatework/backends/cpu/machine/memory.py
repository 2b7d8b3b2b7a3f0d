"""Memory that a training step gets again without asking the system.

A freed block of some megabytes goes back to the system, which hands it out again page by page, each
filled with zeros when it is first touched: for the rows that a forward pass keeps that can cost a
tenth of the step. And where the C library keeps it, the next block may be a little larger and not
fit, so that the process grows. So the large rows that a call does not hand out are leased from a
pool, which gets them back when the last tensor that uses them is gone.

What is handed out is torch's own memory. For that the C library is made to keep what is freed up to
the largest block that it allows, 32 MB: one block of that size is asked for and freed, untouched.
What is larger than a few pages of 2 MB is asked for in such pages, where the system has them.

Native code writes here, so the device is always named: torch's default may be another one.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST_WORKSPACE = 2**26  # bytes that a Python thread keeps for its next call
LARGEST_FREED = 2**25 - 2**16  # bytes: the C library's limit, with room for its own notes
LARGE_PAGE = 2**21
WORTH_LARGE_PAGES = 4 * LARGE_PAGE
HUGEPAGE_ADVICE = 14  # MADV_HUGEPAGE of Linux
WORTH_LEASING = 2**20  # bytes
MOST_FREE = 2**30  # bytes that the pool keeps for later
MOST_WASTE = 1.25  # times the wanted size: a larger free block is left to others

Maker = Callable[[], Tensor]
Block = np.ndarray[Any, Any]  # of bytes

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
_kept = threading.local()  # each Python thread's workspace


def maker(shape: tuple[int, ...], dtype: torch.dtype, filled: bool = False) -> Maker:
    """What makes tensors of a shape that are handed out: not filled, or with zeros."""
    _keep_freed_blocks()
    if filled:
        return partial(torch.zeros, shape, dtype=dtype, device="cpu")
    if math.prod(shape) * dtype.itemsize < WORTH_LARGE_PAGES:
        # a tensor like another is made in half the time of one from a shape and a dtype
        return partial(torch.empty_like, torch.empty((), dtype=dtype, device="cpu").expand(shape))
    return partial(_in_large_pages, shape, dtype)


def leasing(shape: tuple[int, ...], dtype: torch.dtype, filled: bool = False) -> Maker:
    """The same for tensors that are not handed out: large ones are leased from the pool."""
    if math.prod(shape) * dtype.itemsize < WORTH_LEASING:
        return maker(shape, dtype, filled)
    return partial(_POOL.lease, shape, dtype, filled)


def _in_large_pages(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    found = torch.empty(shape, dtype=dtype, device="cpu")
    if found.nbytes >= WORTH_LARGE_PAGES:
        _use_large_pages(found)
    return found


class _Lease(np.ndarray[Any, Any]):
    """The memory of a leased tensor. It lives as long as any tensor that uses it."""

    end: Callable[[], None]

    def __del__(self) -> None:
        self.end()


class Pool:
    """Blocks that are free, to be leased again.

    Tensors end in any thread, and wherever Python collects garbage. So there is no lock: blocks
    come and go by single operations of a dictionary, and are looked for in a copy of it.
    """

    def __init__(self) -> None:
        self._free: dict[int, Block] = {}  # by identity, what has waited longest first

    def lease(self, shape: tuple[int, ...], dtype: torch.dtype, filled: bool) -> Tensor:
        """A tensor in a block that nobody else uses until the tensor's memory is freed."""
        size = math.prod(shape) * dtype.itemsize
        block = self._take(size)
        lease = block[:size].view(_NUMPY[dtype]).reshape(shape).view(_Lease)
        lease.end = partial(self._give, block)
        found = torch.from_numpy(lease)
        return found.zero_() if filled else found

    def free_bytes(self) -> int:
        """How much is kept for later."""
        return sum(b.nbytes for b in self._free.copy().values())

    def _take(self, size: int) -> Block:
        """The smallest free block that is large enough; else a new one, in the place of others."""
        warmest_first = reversed(self._free.copy().values())
        fitting = [b for b in warmest_first if size <= b.nbytes <= MOST_WASTE * size]
        for block in sorted(fitting, key=lambda b: b.nbytes):
            if self._free.pop(id(block), None) is not None:  # else another thread took it
                return block
        self.shrink(self.free_bytes() - size)
        return _in_large_pages((size,), torch.uint8).numpy()

    def _give(self, block: Block) -> None:
        self._free[id(block)] = block
        self.shrink(MOST_FREE)

    def shrink(self, most: int) -> None:
        """Give what has waited longest back to the system."""
        excess = self.free_bytes() - most
        for name, block in self._free.copy().items():
            if excess <= 0:
                return
            if self._free.pop(name, None) is not None:
                excess -= block.nbytes


_POOL = Pool()


def empty_cache() -> None:
    """Give the memory back to the system that the CPU backend keeps for the next training step.

    It keeps what training steps have freed, up to 1 GB, and for each thread that runs layers up to
    64 MB, of which this gives back the calling thread's.

    Example:
        >>> import torch, gatework as gw
        >>> gw.nn.LSTM(64, 64)(torch.randn(100, 64, 64))[0].sum().backward()
        >>> gw.empty_cache()
    """
    _POOL.shrink(0)
    _kept.__dict__.clear()


def workspace(elements: int, dtype: torch.dtype) -> Tensor:
    """Memory for one call, the same as in this thread's last call where that is enough."""
    size = elements * dtype.itemsize
    memory: Tensor | None = getattr(_kept, "memory", None)
    if memory is None or memory.numel() < size:
        memory = _in_large_pages((size,), torch.uint8)
        if size <= LARGEST_WORKSPACE:
            _kept.memory = memory
    return memory


@cache
def _keep_freed_blocks() -> None:
    torch.empty(LARGEST_FREED, dtype=torch.uint8, device="cpu")


def _use_large_pages(block: Tensor) -> None:
    """Ask for large pages; where there are none nothing happens."""
    advise = _advise()
    if advise is None:
        return
    start = -(-block.data_ptr() // LARGE_PAGE) * LARGE_PAGE
    last = (block.data_ptr() + block.nbytes) // LARGE_PAGE * LARGE_PAGE
    if last > start:
        advise(ctypes.c_void_p(start), ctypes.c_size_t(last - start), HUGEPAGE_ADVICE)


@cache
def _advise() -> ctypes._NamedFuncPointer | None:
    return ctypes.CDLL(None).madvise if sys.platform == "linux" else None
