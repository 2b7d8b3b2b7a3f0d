"""First calls where free memory is far apart; run as a script, by its own process.

Free are single pages above a block of 3 GB and what lies below it, so that sections of one object
come to lie on both sides unless they are asked for together. Each way into the process
is tried in a forked child; the exit code tells whether all were right.
"""

import ctypes
import gc
import mmap
import os
import sys
import warnings

import torch

import gatework as gw


def anonymous(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def address(block: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(block))


def spread() -> list[object]:
    """Make the layout; it lasts as long as what is returned."""
    pages = [anonymous(4096) for _ in range(200)]
    data, keep = torch.empty(3 * 2**28), []
    for size in (2**16, 2**15, 2**14, 2**13):  # what is free above the data is in use
        while not keep or address(keep[-1]) > data.data_ptr() or len(keep[-1]) != size:
            keep.append(anonymous(size))
    for k in range(0, 200, 2):
        pages[k] = None  # but for single pages
    gc.collect()
    return [pages, data, keep]


def call(layer: torch.nn.Module, dtype: torch.dtype = torch.float32) -> None:
    x = torch.randn(5, 2, 4, dtype=dtype)
    found = layer.to(dtype)(x)[0]
    with gw.use_backend("reference"):
        torch.testing.assert_close(found, layer(x)[0], rtol=1e-4, atol=1e-5)
    found.sum().backward()


def step() -> None:
    layer = gw.nn.GRU(4, 8)
    x = torch.randn(1, 2, 4)
    found = layer.stream(batch_size=2).step(x[0])
    torch.testing.assert_close(found, layer(x)[0][0], rtol=1e-4, atol=1e-5)


FIRST = {
    "compiled": lambda: call(gw.nn.LSTM(4, 8)),
    "from disk": lambda: call(gw.nn.LSTM(4, 8)),  # the child before has left it there
    "stream": step,
    "float64": lambda: call(gw.nn.LSTM(4, 8), torch.float64),
    "norm": lambda: call(gw.nn.GRU(4, 8, layer_norm=True)),
}


def forked(work) -> int:
    """The exit code of a child that does some work: 0 where it returns."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    layout = spread()
    codes = {name: forked(work) for name, work in FIRST.items()}
    print(codes)
    sys.exit(any(codes.values()))
