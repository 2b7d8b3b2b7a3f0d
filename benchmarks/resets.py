"""Resets inside a sequence: what they cost beside the plain call.

    python benchmarks/resets.py
    python benchmarks/resets.py --cells lstm gru --shapes 16,100,128,128 64,100,256,256

One step in fifty begins an episode. With resets to zero, to a learned and to a given state, forward
alone and with every gradient; the calls take turns, and the time is the processor's, so that a busy
machine disturbs little. Wanted: at most 1.05 times the plain call. Exit code 1 when it is
missed. That the numbers are right is in tests/cells/test_battery.py.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

import gatework as gw
from gatework.bench import Shape, parse_shapes

WANTED = 1.05
KINDS = ("zero", "learned", "given")


def calls(cell: str, shape: Shape, training: bool) -> dict[str, Callable[[], object]]:
    """Calls of one layer each, of the plain one and with resets of every kind."""
    torch.manual_seed(0)
    made = gw.cells.catalogue()[cell]
    sizes = made.usual_sizes(shape.units)
    x = torch.randn(shape.steps, shape.batch, shape.features, requires_grad=training)
    resets = torch.rand(shape.steps, shape.batch) < 0.02

    def call(kind: str) -> Callable[[], object]:
        learned = kind == "learned"
        layer = gw.nn.Recurrent(
            made, shape.features, shape.units, learned_state=learned, **sizes
        ).train(training)
        states = layer.initial_state(shape.batch)
        options = {} if kind == "plain" else {"resets": resets}
        if kind == "given":
            parts = (states,) if isinstance(states, torch.Tensor) else states
            given = tuple(torch.randn_like(s).requires_grad_(training) for s in parts)
            options["reset_to"] = given if len(given) > 1 else given[0]
        dy = torch.randn(shape.steps, shape.batch, layer.output_size)

        def infer() -> object:
            with torch.no_grad():
                return layer(x, **options)[0]

        def train() -> object:
            return torch.autograd.grad(layer(x, **options)[0], [x, *layer.parameters()], dy)

        return train if training else infer

    return {kind: call(kind) for kind in ("plain", *KINDS)}


def measure(cell: str, shape: Shape, training: bool, seconds: float) -> bool:
    """Print one line; whether it is what is wanted."""
    works = calls(cell, shape, training)
    times: dict[str, list[float]] = {kind: [] for kind in works}
    for work in works.values():
        work()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for kind, work in works.items():
            start = time.process_time()
            work()
            times[kind].append(time.process_time() - start)
    typical = {kind: statistics.quantiles(taken, n=4)[0] for kind, taken in times.items()}
    plain = typical["plain"]
    ratios = [typical[kind] / plain for kind in KINDS]
    met = all(r <= WANTED for r in ratios)
    print(
        f"| {cell} | {shape} | {'training' if training else 'inference'} | {1e3 * plain:.2f} | "
        + " | ".join(f"{r:.3f}x" for r in ratios)
        + (" |" if met else " | MISSED"),
        flush=True,
    )
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--shapes", nargs="+", default=["16,100,128,128"], help="B,T,I,H")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"One thread, torch {torch.__version__}, lower quartile of the processor's time\n")
    print("| cell | B,T,I,H | | plain, ms | to zero | to a learned state | to a given one |")
    print("|---|---|---|---|---|---|---|")
    met = [
        measure(cell, shape, training, options.seconds)
        for shape in parse_shapes(options.shapes)
        for training in (False, True)
        for cell in options.cells
    ]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
