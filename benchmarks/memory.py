"""Peak memory of training: how much more the process holds at most than before its first step.

    python benchmarks/memory.py

Each figure is the median of three processes, each after three steps of one shape: where freed
blocks lie differs from process to process. The input and the gradient of the output are made
before; weights, gradients and whatever a step holds count.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

SHAPES = ("16,100,256,256", "64,100,128,256", "64,100,512,512", "128,50,1024,1024")
KINDS = ("LSTM", "GRU", "RNN")
LIBRARIES = ("gatework.nn", "torch.nn")
ALLOWED = 1.0  # times torch's


def peak() -> int:
    """The most memory that this process has held so far, in KB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(library: str, kind: str, shape: str) -> None:
    """Print the MB that three steps add, in this process."""
    import torch

    import gatework as gw

    batch, steps, features, units = map(int, shape.split(","))
    make = getattr(gw.nn if library == "gatework.nn" else torch.nn, kind)

    def train(module: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor) -> None:
        for _ in range(3):
            module.zero_grad()
            x.grad = None
            module(x)[0].backward(gradient)

    train(make(2, 2), torch.ones(steps, 1, 2), torch.ones(steps, 1, 2))  # loads what is loaded late
    x, gradient = torch.randn(steps, batch, features), torch.ones(steps, batch, units)
    before = peak()
    train(make(features, units), x.requires_grad_(), gradient)
    print((peak() - before) / 1024)


def measured(*arguments: str) -> float:
    """The median of what three processes print."""
    command = [sys.executable, __file__, *arguments]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    worst = 0.0
    for shape in SHAPES:
        for kind in KINDS:
            ours, theirs = (measured(library, kind, shape) for library in LIBRARIES)
            worst = max(worst, ours / theirs)
            print(
                f"{kind:5} {shape:17} {ours:6.0f} MB, torch.nn {theirs:6.0f} MB: "
                f"{ours / theirs:.2f} x{'' if ours <= ALLOWED * theirs else '  MISSED'}",
                flush=True,
            )
    sys.exit(worst > ALLOWED)


if __name__ == "__main__":
    measure(*sys.argv[1:]) if sys.argv[1:] else main()
