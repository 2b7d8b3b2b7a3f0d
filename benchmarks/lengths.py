"""Unequal lengths: `lengths=` beside our padded call and beside torch.nn with packing.

    python benchmarks/lengths.py
    python benchmarks/lengths.py --threads 1 --cells lstm --shapes 64,400,256,256

Lengths lie evenly in 1…T. The outputs, and in training every gradient, are compared with those of
torch before anything is timed. Wanted: at least 1.7 times faster than the padded call, and in
training (forward and backward) 3 times faster than torch.nn with packing. The forward pass alone
is bound by the processor: the last column is its share of the FMA peak. Exit code 1 when one is
missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatework as gw
from gatework.bench import Pace, Shape, describe_machine, parse_shapes
from gatework.bench.limits import fma_peak
from gatework.bench.timing import interleaved

WANTED = {"inference": {"padded": 1.7}, "training": {"padded": 1.7, "torch packed": 3.0}}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
TOLERANCE = 2e-5
Call = Callable[[], list[Tensor]]


@dataclass(frozen=True)
class Problem:
    """What all three calls are given."""

    cell: str
    shape: Shape
    kind: str
    lengths: Tensor

    @classmethod
    def of(cls, cell: str, shape: Shape, kind: str) -> Problem:
        torch.manual_seed(0)
        evenly = torch.linspace(1, shape.steps, shape.batch).round().long()  # no luck of the draw
        return cls(cell, shape, kind, evenly[torch.randperm(shape.batch)])

    def flops(self) -> float:
        """Operations of the matrix products at real steps; a backward pass has twice as many."""
        step = 2 * GATES[self.cell] * self.shape.units * (self.shape.features + self.shape.units)
        return step * float(self.lengths.sum()) * (3 if self.kind == "training" else 1)

    def calls(self) -> dict[str, Call]:
        """The calls of one layer each, on the same weights, input and output's gradient."""
        steps, shape, name = self.shape.steps, self.shape, self.cell.upper()
        training = self.kind == "training"
        ours = getattr(gw.nn, name)(shape.features, shape.units).train(training)
        theirs = getattr(torch.nn, name)(shape.features, shape.units).train(training)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(steps, shape.batch, shape.features, requires_grad=training)
        dy = torch.randn(steps, shape.batch, shape.units)

        def packed() -> Tensor:
            rows = pack_padded_sequence(x, self.lengths, enforce_sorted=False)
            return pad_packed_sequence(theirs(rows)[0])[0]

        outputs = {
            "lengths": (ours, lambda: ours(x, lengths=self.lengths)[0]),
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
        worst = float((have - want).detach().abs().max())
        if not worst <= TOLERANCE * max(1.0, float(want.detach().abs().max())):
            raise SystemExit(f"results differ by {worst:.1e}: nothing is timed")


def measure(problem: Problem, peak: float, seconds: float) -> bool:
    """Print one line; whether it is what is wanted."""
    works = problem.calls()
    check(works["lengths"](), works["torch packed"]())
    works["padded"]()
    samples = interleaved(works, Pace(total=seconds, turn=0.05))
    ours = samples["lengths"].median
    ratios = {n: samples[n].median / ours for n in ("padded", "torch packed")}
    missed = [n for n, wanted in WANTED[problem.kind].items() if ratios[n] < wanted]
    share = problem.flops() / (ours * 1e6) / peak
    columns = [problem.cell, str(problem.shape), problem.kind, f"{ours:.1f}"]
    columns += [f"{ratio:.1f}x" for ratio in ratios.values()]
    mark = f"  MISSED: {', '.join(missed)}" if missed else ""
    print(f"| {' | '.join(columns)} | {share:.0%} |{mark}", flush=True)
    return not missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(GATES), choices=list(GATES))
    parser.add_argument("--shapes", nargs="+", default=["64,400,256,256"], help="B,T,I,H")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    options = parser.parse_args()
    met = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        peak = fma_peak(threads)
        processor = describe_machine()["processor"]
        print(f"\n{processor}, {threads} thread(s), torch {torch.__version__}\n")
        print("| cell | B,T,I,H | | ms | padded takes | torch.nn with packing takes | FMA peak |")
        print("|---|---|---|---|---|---|---|")
        met += [
            measure(Problem.of(cell, shape, kind), peak, options.seconds)
            for shape in parse_shapes(options.shapes)
            for kind in WANTED
            for cell in options.cells
        ]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
