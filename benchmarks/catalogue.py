"""The catalogue beside torchrecurrent: every cell that it has, with the same weights.

    python benchmarks/catalogue.py
    python benchmarks/catalogue.py --cells mgu nas --threads 1 --seconds 2

Weights are arranged by the table of the tests (tests/cells/test_torchrecurrent.py). Outputs and
the gradient of the input are compared before anything is timed; a cell marked * departs from its
paper in torchrecurrent, so ours is compared with the paper's step. Wanted: at least 6 times faster
in inference and 5 times in training in the median, 3 times for every cell. Exit code 1 when missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torchrecurrent
from torch import Tensor

import gatework as gw
from gatework.bench import Pace, Shape, describe_machine, parse_shapes
from gatework.bench.timing import interleaved

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "helpers"), str(TESTS / "cells")]

from test_torchrecurrent import CASES, Case, arranged, blocks_of, theirs  # noqa: E402

WANTED = {"inference": 6.0, "training": 5.0}  # in the median
LEAST = 3.0  # for each cell
TOLERANCE = 2e-5
LAYER_OPTIONS = {"tau_gru": {"delay": 2}}  # their layer's, besides those of their cell
Layer = torch.nn.Module


def layers(case: Case, shape: Shape) -> tuple[gw.nn.Recurrent, Layer]:
    """Our layer and torchrecurrent's, with the same random weights."""
    cell = gw.cells.catalogue()[case.ours](**case.constants)
    ours = gw.nn.Recurrent(cell, shape.features, shape.units)
    with torch.no_grad():
        for weight in ours.parameters():
            weight.uniform_(-(shape.units**-0.5), shape.units**-0.5)
        if case.identity:
            blocks_of(ours)[case.identity].copy_(torch.eye(shape.units))
    options = {**case.options, **LAYER_OPTIONS.get(case.ours, {})}
    make = getattr(torchrecurrent, case.theirs.removesuffix("Cell"))
    other = make(shape.features, shape.units, **options)
    weights = arranged(case, other.cells[0], blocks_of(ours))
    with torch.no_grad():
        for name, tensor in other.cells[0].named_parameters():
            if name in weights:
                tensor.copy_(weights[name])
    return ours, other


def check(case: Case, ours: Layer, other: Layer, x: Tensor) -> None:
    """Raise unless both compute the same output and the same gradient of the input."""
    if case.departs:
        states = {s.name: x.new_zeros(x.shape[1], ours.hidden_size) for s in ours.cell.states}
        double = {n: s.double() for n, s in states.items()}
        expected = theirs(case, ours.double(), x.double(), double)["output"]
        ours.float()
    else:
        expected = other(x)[0]
    found = ours(x)[0]
    dy = torch.linspace(-1, 1, found.numel()).view_as(found)
    sources = [
        x,
        *ours.parameters(),
    ]  # what is timed, so that no kernel is made for the check alone
    gradient = torch.autograd.grad(found, sources, dy, materialize_grads=True)[0]
    wanted = torch.autograd.grad(expected, x, dy.to(expected.dtype))[0]
    pairs = {"output": (found, expected), "gradient of the input": (gradient, wanted)}
    for what, (have, want) in pairs.items():
        worst = float((have - want).detach().abs().max())
        if not worst <= TOLERANCE * max(1.0, float(want.detach().abs().max())):
            raise SystemExit(f"{case.ours}: the {what} differs by {worst:.1e}; nothing is timed")


def call(layer: Layer, x: Tensor, kind: str) -> Callable[[], object]:
    """What is timed."""
    dy = torch.ones_like(layer(x)[0])
    sources = [x, *layer.parameters()]

    def infer() -> object:
        with torch.no_grad():
            return layer(x)[0]

    def train() -> object:
        return torch.autograd.grad(layer(x)[0], sources, dy, materialize_grads=True)

    return infer if kind == "inference" else train


def measure(case: Case, shape: Shape, pace: Pace) -> dict[str, tuple[float, float]]:
    """Our milliseconds, and how many times ours torchrecurrent takes, by kind."""
    torch.manual_seed(0)
    ours, other = layers(case, shape)
    x = torch.randn(shape.steps, shape.batch, shape.features, requires_grad=True)
    check(case, ours, other, x)
    found = {}
    for kind in WANTED:
        pair = {
            name: call(layer.train(kind == "training"), x, kind)
            for name, layer in (("ours", ours), ("theirs", other))
        }
        for prepared in pair.values():
            prepared()
        samples = interleaved(pair, pace)
        found[kind] = samples["ours"].median, samples["theirs"].median / samples["ours"].median
    return found


def summary(ratios: dict[str, list[float]]) -> bool:
    """Print medians and minima; whether they are what is wanted."""
    met = True
    for kind, wanted in WANTED.items():
        median, least = statistics.median(ratios[kind]), min(ratios[kind])
        met &= median >= wanted and least >= LEAST
        print(
            f"\n{kind}: {median:.1f}x in the median over {len(ratios[kind])} cells "
            f"(wanted {wanted:g}x), at least {least:.1f}x (wanted {LEAST:g}x)"
        )
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [c.ours for c in CASES]
    parser.add_argument("--cells", nargs="+", default=names, choices=names, metavar="CELL")
    parser.add_argument("--shape", default="16,100,128,128", help="B,T,I,H")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.8, help="for each cell and kind")
    options = parser.parse_args()
    (shape,) = parse_shapes([options.shape])
    torch.set_num_threads(options.threads)
    processor = describe_machine()["processor"]
    print(f"{processor}; torch {torch.__version__}; {options.threads} thread(s)\n")
    print(f"| {shape} | inference, ms | torchrecurrent takes | training, ms | takes |")
    print("|---|---|---|---|---|")
    ratios: dict[str, list[float]] = {kind: [] for kind in WANTED}
    for case in (c for c in CASES if c.ours in options.cells):
        found = measure(case, shape, Pace(total=options.seconds, rounds=3))
        cells = " | ".join(f"{ms:.2f} | {ratio:.1f}x" for ms, ratio in found.values())
        print(f"| {case.ours}{'*' if case.departs else ''} | {cells} |", flush=True)
        for kind, (_, ratio) in found.items():
            ratios[kind].append(ratio)
    sys.exit(0 if summary(ratios) else 1)


if __name__ == "__main__":
    main()
