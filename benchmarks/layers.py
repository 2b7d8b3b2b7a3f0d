"""LSTM, GRU and RNN against torch.nn: inference and training, side by side in one run.

    python benchmarks/layers.py
    python benchmarks/layers.py --layers gru --shapes 1,100,64,128 16,100,256,256

Both sides get the same weights and the same float32 input. Outputs and gradients are compared
before anything is timed. Then the two take turns, call by call, and the medians are compared, so
that whatever else the machine does falls on both. Inference is under no_grad; training is one
forward and one backward pass to the gradients of the input and of every parameter. Packing the
weights and the product with the input are part of every call.

The wanted ratios (torch's time over Gatework's) are those of the project's plan; they were set on
an AVX-512 processor whose multiply-adders run at twice the speed of MKL's code.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

import gatework as gw

Shape = tuple[int, int, int, int]  # B sequences, T steps, I input features, H hidden units

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
WANTED: dict[Shape, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    (1, 100, 64, 128): ((1.5, 5, 2.5), (1.5, 6, 4)),
    (1, 100, 256, 256): ((1.5, 3.5, 1.8), (1.3, 5, 3)),
    (1, 100, 512, 512): ((1.2, 2.5, 1.6), (1.2, 3, 2)),
    (16, 100, 256, 256): ((1.15, 2.5, 1.6), (1.15, 2.3, 1.8)),
    (64, 100, 128, 256): ((1.1, 2.4, 2), (1.4, 2.0, 1.8)),
    (64, 100, 512, 512): ((1.1, 2.2, 2), (1.25, 1.9, 1.8)),
    (128, 50, 1024, 1024): ((1.1, 2.2, 2), (1.1, 1.9, 1.8)),
}


@dataclass(frozen=True)
class Measurement:
    """Milliseconds of one kind of call on both sides: medians and fastest quarter."""

    layer: str
    shape: Shape
    kind: str
    ours: float
    torchs: float
    ours_quarter: float
    torchs_quarter: float
    gflops: float
    wanted: float | None

    @property
    def ratio(self) -> float:
        return self.torchs / self.ours


def pair(name: str, shape: Shape) -> tuple[torch.nn.Module, torch.nn.Module, torch.Tensor]:
    """The two layers with the same weights, and an input."""
    batch, steps, features, units = shape
    torchs = getattr(torch.nn, name)(features, units)
    ours = getattr(gw.nn, name)(features, units)
    ours.load_state_dict(torchs.state_dict())
    return ours, torchs, torch.randn(steps, batch, features, requires_grad=True)


def training(layer: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor):
    """Forward and backward to the gradients of everything."""
    return torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], gradient)


def check(ours: torch.nn.Module, torchs: torch.nn.Module, x: torch.Tensor, dy: torch.Tensor):
    """Raise unless both sides compute the same."""
    torch.testing.assert_close(ours(x)[0], torchs(x)[0], rtol=0, atol=2e-5)
    for a, b in zip(training(ours, x, dy), training(torchs, x, dy), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5 * max(1.0, b.abs().max().item()))


def interleaved(calls: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Times of calls that take turns, in milliseconds."""
    for call in calls * 2:
        call()
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 7:
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            found.append(1e3 * (time.perf_counter() - start))
    return times


def measure(name: str, shape: Shape, seconds: float) -> list[Measurement]:
    """Inference and training of one layer at one shape."""
    ours, torchs, x = pair(name, shape)
    dy = torch.randn(shape[1], shape[0], shape[3])
    check(ours, torchs, x, dy)
    with torch.no_grad():
        inference = interleaved([lambda: ours(x), lambda: torchs(x)], seconds)
    trained = interleaved([lambda: training(ours, x, dy), lambda: training(torchs, x, dy)], seconds)
    batch, steps, features, units = shape
    flops = 2 * batch * steps * GATES[name] * units * (features + units)
    wanted = WANTED.get(shape)
    results = []
    for k, (kind, (a, b), factor) in enumerate(
        (("inference", inference, 1), ("training", trained, 3))
    ):
        median = statistics.median(a)
        results.append(
            Measurement(
                name, shape, kind, median, statistics.median(b),
                statistics.quantiles(a)[0], statistics.quantiles(b)[0],
                factor * flops / median / 1e6,
                wanted[k][list(GATES).index(name)] if wanted else None,
            )
        )  # fmt: skip
    return results


def line(m: Measurement) -> str:
    """A measurement as a line of the table."""
    shape = ",".join(map(str, m.shape))
    wanted = "" if m.wanted is None else f"  wanted {m.wanted:4.2f}"
    quarter = m.torchs_quarter / m.ours_quarter
    return (
        f"{m.layer:5} {shape:>16}  {m.kind:9}  {m.ours:9.3f} ms  torch {m.torchs:9.3f} ms  "
        f"{m.ratio:6.2f}x  (fastest quarter {quarter:5.2f}x)  {m.gflops:5.0f} GFLOP/s{wanted}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=list(GATES), type=str.upper)
    parser.add_argument("--shapes", nargs="+", help="B,T,I,H; default: the plan's table")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--json", help="a file that gets the measurements")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shapes = [tuple(map(int, s.split(","))) for s in options.shapes or []] or list(WANTED)
    found = []
    for shape in shapes:
        for name in options.layers:
            for m in measure(name, shape, options.seconds):
                print(line(m), flush=True)
                found.append(m)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([asdict(m) for m in found], file, indent=1)


if __name__ == "__main__":
    main()
