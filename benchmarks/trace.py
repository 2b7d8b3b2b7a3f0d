"""What `layer.trace` costs: its time over that of the plain call, for every cell of the catalogue.

    python benchmarks/trace.py
    python benchmarks/trace.py --cells lstm gru --shape 16,100,128,128

Wanted: less than 1.5 times in the median, forward alone and with the backward pass. Exit code 1
when it is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch

import gatework as gw
from gatework.bench import Pace, Shape, parse_shapes
from gatework.bench.problem import make_problem
from gatework.bench.timing import interleaved

WANTED = 1.5


def calls(cell: str, shape: Shape, kind: str) -> dict[str, Callable[[], object]]:
    """The plain call and the trace, forward alone or to the gradients of everything."""
    problem = make_problem(gw.cells.catalogue()[cell], shape, kind)
    layer, x = problem.layer, problem.x

    def plain() -> torch.Tensor:
        return layer(x)[0]

    def trace() -> torch.Tensor:
        return layer.trace(x).output

    if kind == "inference":
        return {"plain": plain, "trace": trace}
    return {
        n: lambda f=f: problem.gradients(f()) for n, f in {"plain": plain, "trace": trace}.items()
    }


def ratio(cell: str, shape: Shape, kind: str, seconds: float) -> float:
    """How many times the plain call's time a trace takes."""
    with torch.set_grad_enabled(kind == "training"):
        works = calls(cell, shape, kind)
        for call in works.values():
            call()
        samples = interleaved(works, Pace(total=seconds, rounds=3))
    return samples["trace"].median / samples["plain"].median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(gw.cells.catalogue())
    parser.add_argument("--cells", nargs="+", default=names, choices=names, metavar="CELL")
    parser.add_argument("--shape", default="16,100,128,128", help="B,T,I,H")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each cell and kind")
    options = parser.parse_args()
    (shape,) = parse_shapes([options.shape])
    torch.set_num_threads(options.threads)
    print(f"| {shape}, {options.threads} thread(s) | inference | training |\n|---|---|---|")
    found: dict[str, list[float]] = {"inference": [], "training": []}
    for cell in options.cells:
        for kind, ratios in found.items():
            ratios.append(ratio(cell, shape, kind, options.seconds))
        print(
            f"| {cell} | " + " | ".join(f"{r[-1]:.2f}x" for r in found.values()) + " |", flush=True
        )
    medians = {kind: statistics.median(ratios) for kind, ratios in found.items()}
    for kind, median in medians.items():
        print(f"\n{kind}: {median:.2f}x in the median (wanted below {WANTED}x), "
              f"at most {max(found[kind]):.2f}x")  # fmt: skip
    sys.exit(0 if max(medians.values()) < WANTED else 1)


if __name__ == "__main__":
    main()
