"""Our exports of the three cells beside torch's own, in ONNX Runtime.

    python benchmarks/export_onnx.py

torch.nn's LSTM, GRU and RNN go through `torch.onnx.export`, layers of ours with the same weights
through `gatework.export.onnx`. Both files give the layer's numbers, which is checked first; then
they run in turns on one thread. Each figure is the median of the wall time of a call, in
milliseconds, and torch's over ours.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import gatework as gw

SHAPES = ((100, 1, 64), (100, 1, 256), (100, 16, 128), (10, 1, 64))  # steps, sequences, units
SECONDS = 3.0


def theirs(layer: torch.nn.Module, path: Path) -> None:
    """By torch's older exporter: the newer one fixes the number of steps, or unrolls them."""
    free = {"x": {0: "time", 1: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.randn(7, 3, layer.input_size)
        torch.onnx.export(
            layer.eval(), (x,), path, dynamo=False, input_names=["x"], dynamic_axes=free
        )


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def medians(sessions: list[Any], x: np.ndarray) -> list[float]:
    """The median time of a call of each, in turns."""
    feeds = [{s.get_inputs()[0].name: x} for s in sessions]
    times: list[list[float]] = [[] for _ in sessions]
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for k, (one, feed) in enumerate(zip(sessions, feeds, strict=True)):
            start = time.perf_counter()
            one.run(None, feed)
            times[k].append(time.perf_counter() - start)
    return [1e3 * statistics.median(found) for found in times]


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    print("layer   T    B    H   torch's   ours   torch's takes")
    for name in ("LSTM", "GRU", "RNN"):
        for steps, batch, units in SHAPES:
            layer, ours = (getattr(m, name)(units, units) for m in (torch.nn, gw.nn))
            ours.load_state_dict(layer.state_dict())
            x = torch.randn(steps, batch, units)
            files = folder / "theirs.onnx", folder / "ours.onnx"
            theirs(layer, files[0])
            gw.export.onnx(ours, files[1])
            sessions = [session(f) for f in files]
            with torch.no_grad():
                wanted = layer(x)[0].numpy()
            for one in sessions:
                found = one.run(None, {one.get_inputs()[0].name: x.numpy()})[0]
                np.testing.assert_allclose(found, wanted, atol=1e-5)
            a, b = medians(sessions, x.numpy())
            print(f"{name:5} {steps:4} {batch:4} {units:4}   {a:7.3f} {b:7.3f}   {a / b:.2f}")


if __name__ == "__main__":
    main()
