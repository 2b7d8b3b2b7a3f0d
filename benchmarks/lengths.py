"""Unequal lengths: `lengths=` beside our padded call and beside torch.nn with packing.

    python benchmarks/lengths.py
    python benchmarks/lengths.py --threads 1 --cells lstm --shapes 64,400,256,256

Lengths are uniform in 1…T. The outputs, and in training every gradient, are compared with those of
torch before anything is timed. Wanted: at least 1.7 times faster than the padded call and 3 times
faster than torch.nn with packing, forward alone and with the backward pass. Exit code 1 when one
is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatework as gw
from gatework.bench import Pace, Shape, parse_shapes
from gatework.bench.timing import interleaved

WANTED = {"padded": 1.7, "torch packed": 3.0}
TOLERANCE = 2e-5
Call = Callable[[], list[Tensor]]


def calls(cell: str, shape: Shape, training: bool) -> dict[str, Call]:
    """The three calls: of one layer each, on the same weights, input and output's gradient."""
    torch.manual_seed(0)
    name = cell.upper()
    ours = getattr(gw.nn, name)(shape.features, shape.units).train(training)
    theirs = getattr(torch.nn, name)(shape.features, shape.units).train(training)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape.steps, shape.batch, shape.features, requires_grad=training)
    lengths = torch.randint(1, shape.steps + 1, (shape.batch,))
    lengths[0] = shape.steps  # so that nobody has shorter rows than another
    dy = torch.randn(shape.steps, shape.batch, shape.units)

    def packed() -> Tensor:
        rows = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(theirs(rows)[0])[0]

    outputs = {
        "lengths": (ours, lambda: ours(x, lengths=lengths)[0]),
        "padded": (ours, lambda: ours(x)[0]),
        "torch packed": (theirs, packed),
    }

    def call(module: torch.nn.Module, output: Callable[[], Tensor]) -> Call:
        def infer() -> list[Tensor]:
            with torch.no_grad():
                return [output()]

        def train() -> list[Tensor]:
            y = output()
            return [y, *torch.autograd.grad(y, [x, *module.parameters()], dy)]

        return train if training else infer

    return {n: call(*pair) for n, pair in outputs.items()}


def check(found: list[Tensor], expected: list[Tensor]) -> None:
    """Raise unless ours and torch's are the same numbers."""
    for have, want in zip(found, expected, strict=True):
        worst = (have - want).detach().abs().max() / max(1.0, float(want.detach().abs().max()))
        if not worst <= TOLERANCE:
            raise SystemExit(f"results differ by {worst:.1e}: nothing is timed")


def measure(cell: str, shape: Shape, training: bool, seconds: float) -> bool:
    """Print one line; whether it is what is wanted."""
    works = calls(cell, shape, training)
    check(works["lengths"](), works["torch packed"]())
    works["padded"]()
    samples = interleaved(works, Pace(total=seconds, turn=0.05))
    ours = samples["lengths"].median
    ratios = {n: samples[n].median / ours for n in WANTED}
    met = all(ratios[n] >= wanted for n, wanted in WANTED.items())
    print(
        f"| {cell} | {shape} | {'training' if training else 'inference'} | {ours:.1f} | "
        + " | ".join(f"{r:.2f}x" for r in ratios.values())
        + (" |" if met else " | MISSED"),
        flush=True,
    )
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--shapes", nargs="+", default=["64,400,256,256"], help="B,T,I,H")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    options = parser.parse_args()
    met = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"\n{threads} thread(s), torch {torch.__version__}\n")
        print("| cell | B,T,I,H | | ms | padded takes | torch.nn, packed, takes |")
        print("|---|---|---|---|---|---|")
        met += [
            measure(cell, shape, training, options.seconds)
            for shape in parse_shapes(options.shapes)
            for training in (False, True)
            for cell in options.cells
        ]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
