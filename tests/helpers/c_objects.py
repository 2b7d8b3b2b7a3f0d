"""Cells as C objects: what is run, and how near it has to be."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch

import gatework as gw
from feeding import fed, recurrent
from gatework.backends.cpu.machine.jit import Library

CELLS = {
    c.name: c for c in (getattr(gw.cells, n) for n in gw.cells.__all__) if hasattr(c, "states")
}
STEPS = 7


def native():
    """The best target that runs here; None where none does."""
    features = llvm.get_host_cpu_features()
    if llvm.get_process_triple().startswith("aarch64"):
        return "aarch64"
    if llvm.get_process_triple().startswith("x86_64"):
        return "x86-64-v3" if features.get("avx2") and features.get("fma") else "x86-64"
    return None


NATIVE = native()
runs_here = pytest.mark.skipif(NATIVE is None, reason="no target of ours runs here")


class Loaded:
    """An object in this process."""

    def __init__(self, files, *weights):
        self.name, self.header = files[0].stem, files[1].read_text()
        words = ("reset", "step", "sequence", "save", "load")
        symbols = tuple(f"{self.name}_{w}" for w in words)
        self._library = Library(files[0].read_bytes(), symbols)
        self.calls = dict(zip(words, map(self._library.address, symbols), strict=True))
        size = self.header.partition("float memory[")[2].partition("]")[0]
        self.state = np.full(int(size), np.nan, "f4")
        self.call("reset", self.state, *weights)

    def call(self, word, *rows):
        kinds = [ctypes.c_size_t if isinstance(r, int) else ctypes.c_void_p for r in rows]
        given = [r if isinstance(r, int) else r.ctypes.data for r in rows]
        ctypes.CFUNCTYPE(None, *kinds)(self.calls[word])(*given)

    def number(self, name):
        return int(self.header.partition(f"#define {self.name.upper()}_{name} ")[2].split()[0])

    def run(self, *inputs):
        rows = [np.ascontiguousarray(x.numpy(), "f4") for x in inputs]
        y = np.empty((len(rows[0]), self.number("Y")), "f4")
        self.call("sequence", self.state, *rows, y, len(y))
        return torch.from_numpy(y)


def assert_near(found, layer, x):
    """Within 1e-6 of float64, or three times what rounding to float32 costs torch there."""
    layer = layer.eval()
    with gw.use_backend("reference"), torch.no_grad():
        single, double = layer(x), layer.double()(x.double())
    if isinstance(double, tuple):
        single, double = single[0], double[0]
    rounding = (single - double).abs().max()
    largest = max(1, double.abs().max())
    assert (found - double).abs().max() <= max(1e-6 * largest, 3 * rounding)


def layer_and_inputs(cell):
    torch.manual_seed(5)
    hidden = 12 if cell.has_hidden_size() or not cell.axis_names() else None
    layer = recurrent(cell, 4, hidden, **cell.usual_sizes(12))
    x = torch.randn(STEPS, 4)
    rows = fed(cell, layer.sizes(0), x, False)
    roles = {s.name: s.role for s in cell.further}
    return layer, [x, *(rows[n] for n in sorted(rows, key=lambda n: roles[n] != "sequence"))]
