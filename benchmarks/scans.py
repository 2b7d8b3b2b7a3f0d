"""Cells whose next state is linear in the state: what they cost beside their products alone.

    python benchmarks/scans.py
    python benchmarks/scans.py --cells min_gru --shapes 16,100,256,256 --threads 1

Their gates read no state, so all products are done before the loop, and a step is one pass over its
rows. The time of a call is divided by that of torch's products of the same sizes and one copy of
their results (in training three products and three copies). The calls take turns, and the time is
the processor's, so that a busy machine disturbs little. Wanted: at most 1.3 in inference, 1.5 in
training.
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

CELLS = ("min_gru", "min_lstm", "sru", "qrnn", "rg_lru")
WANTED = {"inference": 1.3, "training": 1.5}


def works(cell: str, shape: Shape) -> dict[str, Callable[[], object]]:
    """Inference and training of a layer, and what each is compared with."""
    made = gw.cells.catalogue()[cell]
    layer = gw.nn.Recurrent(made, shape.features, shape.units, **made.usual_sizes(shape.units))
    x = torch.randn(shape.steps, shape.batch, shape.features, requires_grad=True)
    weights = list(layer.parameters())
    dy = torch.randn(shape.steps, shape.batch, layer.output_size)
    stacked = torch.cat([p.detach() for n, p in layer.named_parameters() if "weight" in n])
    rows = x.detach().flatten(0, 1)
    mapped = rows @ stacked.T

    def infer() -> object:
        with torch.no_grad():
            return layer(x)[0]

    return {
        "inference": infer,
        "inference alone": lambda: (rows @ stacked.T, mapped.clone()),
        "training": lambda: torch.autograd.grad(layer(x)[0], [x, *weights], dy),
        "training alone": lambda: (
            rows @ stacked.T, mapped @ stacked, mapped.T @ rows, *(mapped.clone() for _ in "abc")
        ),
    }  # fmt: skip


def measure(cell: str, shape: Shape, turns: int) -> bool:
    """Print one line; whether both are within what is wanted."""
    made = works(cell, shape)
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(turns + 1):
        for name, work in made.items():
            start = time.process_time()
            work()
            times[name].append(time.process_time() - start)
    typical = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    ratios = {name: typical[name] / typical[f"{name} alone"] for name in WANTED}
    print(
        f"| {cell} | {shape} | " + " | ".join(f"{r:.2f}" for r in ratios.values()) + " |",
        flush=True,
    )
    return all(ratios[name] <= most for name, most in WANTED.items())


def main() -> None:
    """Measure every cell at every shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--shapes", nargs="+", default=["16,100,256,256", "1,1000,256,256"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    print("| cell | B, T, I, H | inference | training |\n|---|---|---|---|")
    shapes = parse_shapes(asked.shapes)
    met = [measure(cell, shape, asked.turns) for shape in shapes for cell in asked.cells]
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
