"""Whether the system gives memory for machine code.

LLVM ends the process where a block that it was given may not be made executable. So the same is
tried before it is asked.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache

from gatework.backends.cpu.vector.errors import CodeMemoryError


def require(size: int) -> None:
    """Raise an error unless some bytes of machine code can be put into memory."""
    page = mmap.PAGESIZE
    pages = -(-size // page) + 4  # code, constants and addresses begin on pages of their own
    failed = "is memory limited (ulimit -v)?"
    try:
        with mmap.mmap(-1, pages * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
            failed = (
                "are there too many mappings (vm.max_map_count), or is machine code made at run "
                "time forbidden (MemoryDenyWriteExecute of systemd, execmem of SELinux)?"
            )
            start = ctypes.addressof(ctypes.c_char.from_buffer(block))
            for k in (1, 3):
                _make_executable(start + k * page, page)
    except OSError as error:
        raise CodeMemoryError(
            f"the system gives no memory for {size:,} bytes of machine code ({error.strerror}): "
            f"{failed} gatework.use_backend('reference') needs none"
        ) from error


def _make_executable(address: int, size: int) -> None:
    rights = mmap.PROT_READ | mmap.PROT_EXEC
    if _protect()(ctypes.c_void_p(address), ctypes.c_size_t(size), rights):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _protect() -> ctypes._NamedFuncPointer:
    return ctypes.CDLL(None, use_errno=True).mprotect
