"""Memory that a training step gets again without asking the system.

A freed block of some megabytes goes back to the system, which hands it out again page by page, each
filled with zeros when it is first touched: for the rows that a forward pass keeps that can cost a
tenth of the step. The C library stops doing so for blocks up to the largest that it has seen
freed, 32 MB at most; so one block of that size is asked for and freed, without being touched.
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

import torch
from torch import Tensor

LARGEST_WORKSPACE = 2**26  # bytes that a Python thread keeps for its next call
LARGEST_FREED = 2**25 - 2**16  # bytes: the C library's limit, with room for its own notes
LARGE_PAGE = 2**21
WORTH_LARGE_PAGES = 4 * LARGE_PAGE
HUGEPAGE_ADVICE = 14  # MADV_HUGEPAGE of Linux

Maker = Callable[[], Tensor]

_kept = threading.local()  # each Python thread's workspace


def maker(shape: tuple[int, ...], dtype: torch.dtype, filled: bool = False) -> Maker:
    """What makes tensors of a shape: not filled, or with zeros."""
    _keep_freed_blocks()
    if filled:
        return partial(torch.zeros, shape, dtype=dtype, device="cpu")
    if math.prod(shape) * dtype.itemsize < WORTH_LARGE_PAGES:
        # a tensor like another is made in half the time of one from a shape and a dtype
        return partial(torch.empty_like, torch.empty((), dtype=dtype, device="cpu").expand(shape))
    return partial(_in_large_pages, shape, dtype)


def _in_large_pages(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    found = torch.empty(shape, dtype=dtype, device="cpu")
    _use_large_pages(found)
    return found


def workspace(elements: int, dtype: torch.dtype) -> Tensor:
    """Memory for one call, the same as in this thread's last call where that is enough."""
    size = elements * dtype.itemsize
    memory: Tensor | None = getattr(_kept, "memory", None)
    if memory is None or memory.numel() < size:
        memory = torch.empty(size, dtype=torch.uint8, device="cpu")
        if size >= WORTH_LARGE_PAGES:
            _use_large_pages(memory)
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
