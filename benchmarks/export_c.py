"""Networks of audio effects as C objects: size, and the time of a sample.

    python benchmarks/export_c.py
    python benchmarks/export_c.py --target x86-64-v4

One input, an LSTM or GRU, a linear layer to one output, as in RTNeural's and GuitarML's models.
One thread, 48,000 samples in one call, the shortest of several turns: audio has a core for itself,
and at 48 kHz 20.8 µs for a sample. RTNeural's author gives 3.2 µs for an LSTM of 64 units on his
machine (Chowdhury 2021, "RTNeural: Fast Neural Inferencing for Real-Time Systems"); its source is
in no package index, so it does not run here beside. Before anything is timed, outputs are compared
with torch's. Needs a C compiler, which links the object so that it can be called.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import gatework as gw

RATE, TURNS = 48_000, 15
UNITS = (8, 16, 20, 32, 40, 64)
LAYERS = {"LSTM": gw.nn.LSTM, "GRU": gw.nn.GRU}
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def built(folder: Path, model: nn.Sequential, target: str) -> tuple[ctypes.CDLL, int, int]:
    """The functions of a model, the bytes of its object, and those of a state."""
    files = gw.export.c(model, folder / "amp", target=target)
    library = folder / "amp.so"
    subprocess.run([COMPILER, "-shared", files[0], "-o", library], check=True)
    header = files[1].read_text()
    numbers = int(header.partition("float memory[")[2].partition("]")[0])
    return ctypes.CDLL(str(library)), files[0].stat().st_size, 4 * numbers


def measured(kind: str, units: int, target: str) -> tuple[float, int, int]:
    """Microseconds of a sample, bytes of the object and of a state."""
    torch.manual_seed(0)
    model = nn.Sequential(LAYERS[kind](1, units), nn.Linear(units, 1)).eval()
    x = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    y = np.zeros_like(x)
    with tempfile.TemporaryDirectory() as name:
        library, size, state_bytes = built(Path(name), model, target)
        state = ctypes.create_string_buffer(state_bytes)
        arguments = state, x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p)

        def run() -> float:
            library.amp_reset(state)
            begin = time.perf_counter()
            library.amp_sequence(*arguments, ctypes.c_size_t(RATE))
            return time.perf_counter() - begin

        run()
        check(model, x, y)
        return min(run() for _ in range(TURNS)) / RATE * 1e6, size, state_bytes


@torch.no_grad()
def check(model: nn.Sequential, x: np.ndarray, y: np.ndarray) -> None:
    """Raise unless the object gives what torch does."""
    expected = model[1](model[0](torch.from_numpy(x)[:2_000, None, None])[0]).flatten().numpy()
    apart = np.abs(y[:2_000] - expected).max()
    assert apart < 1e-5, apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", default="x86-64-v3")
    target = parser.parse_args().target
    if COMPILER is None:
        sys.exit("no C compiler was found")
    print("network    µs a sample   of 48 kHz   object    state")
    for kind in LAYERS:
        for units in UNITS:
            micro, size, state = measured(kind, units, target)
            share = micro * RATE / 1e6
            print(
                f"{kind:<5}{units:>3} {micro:>13.2f} {share:>11.1%} {size / 1024:>6.1f} kB"
                f" {state / 1024:>6.1f} kB",
                flush=True,
            )


if __name__ == "__main__":
    main()
