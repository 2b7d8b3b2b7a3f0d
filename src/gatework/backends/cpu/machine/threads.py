"""Run a native function on several threads: torch's own OpenMP pool, or Python threads.

torch brings an OpenMP runtime with it. Running on the same one means the same threads, warm and
obeying torch.set_num_threads, and no second pool that fights the first for the cores. After a fork
the child's copy of the pool has lost its threads, so there Python threads take over.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

_forked = threading.Event()
os.register_at_fork(after_in_child=_forked.set)


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP runtime that torch has loaded, if it can start a team."""
    folder = Path(torch.__file__).parent / "lib"
    found = [*sorted(folder.glob("lib*omp*")), Path("libgomp.so.1"), Path("libomp.dylib")]
    for path in found:
        try:
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        if hasattr(library, "GOMP_parallel") and hasattr(library, "omp_get_num_threads"):
            return library
    return None


def team_size_function() -> int:
    """The address of the function that tells a thread how many work with it; 0 without OpenMP."""
    library = None if _forked.is_set() else _openmp()
    if library is None:
        return 0
    return ctypes.cast(library.omp_get_num_threads, ctypes.c_void_p).value or 0


def run(function: Callable[[int], None], address: int, arguments: int, threads: int) -> None:
    """Call `function(arguments)` on some threads at once and wait for all of them.

    Args:
        function: The native function as ctypes sees it.
        address: The same function's address.
        arguments: The address it is called with.
        threads: How many threads; OpenMP may give fewer.
    """
    if threads == 1:
        function(arguments)
        return
    library = None if _forked.is_set() else _openmp()
    if library is not None:
        library.GOMP_parallel(
            ctypes.c_void_p(address), ctypes.c_void_p(arguments), ctypes.c_uint(threads), 0
        )
        return
    others = [threading.Thread(target=function, args=(arguments,)) for _ in range(threads - 1)]
    for other in others:
        other.start()
    function(arguments)
    for other in others:
        other.join()
