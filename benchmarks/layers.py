"""`gatework bench` on the whole table, beside the ratios that the project wants of torch.nn.

    python benchmarks/layers.py
    python benchmarks/layers.py --cells gru --shapes 1,100,64,128 16,100,256,256

The wanted ratios (torch's time over Gatework's) were set on an AVX-512 processor whose
multiply-adders run at twice the speed of MKL's code. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import sys

import torch

from gatework.bench import TABLE, Limits, Line, Pace, Settings, compare, parse_shapes
from gatework.cells import catalogue

CELLS = ("lstm", "gru", "rnn")
INFERENCE = ((1.5, 5, 2.5), (1.5, 3.5, 1.8), (1.2, 2.5, 1.6), (1.15, 2.5, 1.6), (1.1, 2.4, 2),
             (1.1, 2.2, 2), (1.1, 2.2, 2))  # fmt: skip
TRAINING = ((1.5, 6, 4), (1.3, 5, 3), (1.2, 3, 2), (1.15, 2.3, 1.8), (1.4, 2.0, 1.8),
            (1.25, 1.9, 1.8), (1.1, 1.9, 1.8))  # fmt: skip
WANTED = {
    (cell, shape, kind): wanted
    for kind, rows in (("inference", INFERENCE), ("training", TRAINING))
    for shape, row in zip(TABLE, rows, strict=True)
    for cell, wanted in zip(CELLS, row, strict=True)
}


def show(line: Line) -> bool:
    """Print a line; whether it is what is wanted."""
    if line.error:
        print(f"{line.entry}: {line.error}", flush=True)
        return False
    ratio, ours = line.ratio("torch.nn"), line.samples["gatework"].median
    wanted = WANTED.get((line.entry.cell.name, line.entry.shape, line.entry.kind), 1.0)
    mark = "" if ratio >= wanted else "  MISSED"
    print(
        f"{line.entry!s:32} {ours:9.3f} ms  {ratio:6.2f}x  wanted {wanted:4.2f}  "
        f"{line.share:4.0%} of {line.limit}{mark}",
        flush=True,
    )
    return not mark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--shapes", nargs="+", default=[], help="B,T,I,H; default: the table")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line")
    options = parser.parse_args()
    settings = Settings(
        cells=tuple(catalogue()[name] for name in options.cells),
        shapes=parse_shapes(options.shapes) or TABLE,
        threads=options.threads,
        pace=Pace(total=options.seconds),
    )
    met = [show(line) for line in compare(settings, Limits(options.threads))]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
