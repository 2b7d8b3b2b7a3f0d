"""No shape slower than torch.nn: LSTM, GRU and RNN over sequences, units and steps.

    python benchmarks/sweep.py                # some five minutes
    python benchmarks/sweep.py --steps 1 2    # these numbers of steps only

A figure is torch's median time over ours, inference then training, two threads, in turns. Shapes
that need more than `MOST_WORK` multiply-adds a unit are left out. Exit code 1 when a figure is
below 0.95.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

import gatework as gw

KINDS = ("LSTM", "GRU", "RNN")
BATCHES, UNITS, STEPS = (1, 4, 16, 64, 256), (8, 32, 128, 512, 1024), (1, 2, 10, 100, 1000)
MOST_WORK = 7.5e8
LEAST = 0.95
SECONDS, TURN = 0.12, 2e-3

Step = Callable[[torch.nn.Module], object]


def ratio(step: Step, theirs: torch.nn.Module, ours: torch.nn.Module) -> float:
    """Torch's median time over ours; the first call of each turn is not timed."""
    modules, times = (theirs, ours), ([], [])
    for module in modules:
        step(module)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times[1]) < 3:
        for module, found in zip(modules, times, strict=True):
            step(module)
            until = time.perf_counter() + TURN
            while (start := time.perf_counter()) < until:
                step(module)
                found.append(time.perf_counter() - start)
    return statistics.median(times[0]) / statistics.median(times[1])


def ratios(kind: str, steps: int, batch: int, units: int) -> tuple[float, float]:
    """Of inference and of training."""
    theirs, ours = (getattr(library, kind)(units, units) for library in (torch.nn, gw.nn))
    x = torch.randn(steps, batch, units)

    def infer(module: torch.nn.Module) -> None:
        with torch.no_grad():
            module(x)

    def train(module: torch.nn.Module) -> None:
        module(x)[0].sum().backward()

    return ratio(infer, theirs, ours), ratio(train, theirs, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    torch.set_num_threads(2)
    every: list[float] = []
    print("T, B, H:", *KINDS, sep="   ")
    for steps in parser.parse_args().steps:
        for batch in BATCHES:
            for units in UNITS:
                if steps * batch * units**2 > MOST_WORK:
                    continue
                figures = [f for kind in KINDS for f in ratios(kind, steps, batch, units)]
                every += figures
                shown = (f"{f:.2f}{'' if f >= LEAST else '!'}" for f in figures)
                print(f"{steps}, {batch}, {units}:", *shown, sep="   ", flush=True)
    slower = sum(f < LEAST for f in every)
    print(f"{slower} of {len(every)} below {LEAST}, median {statistics.median(every):.2f}")
    sys.exit(slower > 0)


if __name__ == "__main__":
    main()
