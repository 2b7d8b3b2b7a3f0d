"""Calls of this version beside those of another checkout, such as the one before a change.

    git worktree add ../before HEAD~1
    python benchmarks/two_versions.py ../before
    python benchmarks/two_versions.py ../before --cells lstm --shapes 1,1,32,32 --starts 8

Each version runs in a process of its own; they take turns, on the same weights and the same input,
and start anew several times, since addresses and the order of what is loaded differ from start to
start. Outputs and gradients are compared first. Times are those that a twentieth of the calls lie
below, in the best of all turns: what the calls cost where nobody else has the processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

SHAPES = ("1,1,32,32", "1,10,32,32", "1,16,128,128", "16,100,128,128", "64,50,128,256")
CELLS = ("lstm", "gru", "rnn")
KINDS = ("inference", "training")
SECONDS = 0.2  # of one turn
TURNS = 4


def calls(cell: str, shape: str) -> dict[str, Callable[[], tuple[torch.Tensor, ...]]]:
    """What is timed, by kind: a call, and a call with its backward pass."""
    import gatework as gw  # of the version that this process runs

    batch, steps, features, units = map(int, shape.split(","))
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(gw.cells.catalogue()[cell], features, units)
    x = torch.randn(steps, batch, features, requires_grad=True)
    dy = torch.randn(steps, batch, units)
    wanted = [x, *layer.parameters()]

    def infer() -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return (layer(x)[0],)

    def train() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(layer(x)[0], wanted, dy)

    return dict(zip(KINDS, (infer, train), strict=True))


def work() -> None:
    """Answer each line, `cell shape kind`, with a checksum and a time in seconds."""
    made = {}
    for line in sys.stdin:
        cell, shape, kind = line.split()
        if (cell, shape) not in made:
            made[cell, shape] = calls(cell, shape)
        call = made[cell, shape][kind]
        check = sum(t.double().abs().sum().item() for t in call())
        taken, end = [], time.perf_counter() + SECONDS
        while (begin := time.perf_counter()) < end or len(taken) < 10:
            call()
            taken.append(time.perf_counter() - begin)
        print(check, sorted(taken)[len(taken) // 20], flush=True)


class Version:
    """A process that runs one checkout."""

    def __init__(self, checkout: Path, threads: int) -> None:
        path = {"PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **path},
        )  # fmt: skip

    def ask(self, *words: str) -> tuple[float, float]:
        """The checksum and the time of a case."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        check, taken = map(float, self._process.stdout.readline().split())
        return check, taken

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def compare(before: Path, options: argparse.Namespace) -> list[float]:
    """Print a line for each case; the ratios, this version's time over the other's."""
    cases = [(c, s, k) for c in options.cells for s in options.shapes for k in KINDS]
    times: dict[tuple[str, ...], list[list[float]]] = {case: [[], []] for case in cases}
    here = Path(__file__).parents[1]
    for start in range(options.starts):
        versions = [Version(p, options.threads) for p in (before, here)]
        for case in cases:
            for turn in range(TURNS):
                order = (0, 1) if (start + turn) % 2 else (1, 0)
                answers = {k: versions[k].ask(*case) for k in order}
                (a, _), (b, _) = answers[0], answers[1]
                if abs(a - b) > 1e-4 * abs(a):
                    sys.exit(f"{' '.join(case)}: the versions compute {a} and {b}")
                for k, (_, taken) in answers.items():
                    times[case][k].append(taken)
        for version in versions:
            version.end()
    ratios = []
    for case, taken in times.items():
        old, new = map(min, taken)
        ratios.append(new / old)
        print(f"{' '.join(case):32} {1e6 * old:9.1f} {1e6 * new:9.1f} us  {new / old:5.3f}")
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--cells", nargs="+", default=CELLS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="B,T,I,H")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work()
    if options.before is None or not (options.before / "src" / "gatework").is_dir():
        parser.error("give the folder of another checkout, with src/gatework in it")
    ratios = compare(options.before, options)
    print(f"median {statistics.median(ratios):.3f}, highest {max(ratios):.3f}")
    return None


if __name__ == "__main__":
    main()
