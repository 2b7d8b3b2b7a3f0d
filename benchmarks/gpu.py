"""`gatework bench --device cuda` at the sizes that count, beside the ratios that are wanted.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --others
    python benchmarks/gpu.py --catalogue

The first compares with torch.nn: cuDNN's kernels; a peephole LSTM, which they lack, with its LSTM.
It prints the README's table: torch's time over ours, forward / training, as replays of CUDA graphs,
then called from Python. `--others` has a step loop in Python and torchrecurrent beside them,
`--catalogue` every cell alone, microseconds of a step forward. Each takes less than five minutes:
when the time is over, what is left is named. Exit code 1 when a wanted ratio is missed, when
torch.nn is faster called from Python, or when something is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from gatework.bench import Shape
from gatework.bench.gpu import (
    CONTESTANTS,
    PRECISIONS,
    SHAPES,
    Entry,
    Line,
    Settings,
    against,
    as_data,
    by_entry,
    card,
    entries,
    measured,
    ratios_table,
)
from gatework.cells import catalogue
from gatework.errors import InputError

SECONDS = 270.0  # after which no further line is begun
OURS, TORCH = CONTESTANTS[:2]
COLUMNS = {  # cell and precision: torch's time over ours that is wanted, forward and training
    ("lstm", "fp16"): ((1.6, 1.5), (2.5, 2.3), (7, 5.5), (3.5, 3), (1.8, 1.5), (6, 4.3)),
    ("lstm", "bf16"): ((5, 4), (6.5, 5.8), (7, 5.5), (3.5, 2.8), (1.8, 1.5), (6, 4.4)),
    ("lstm", "fp32"): ((4.5, 4), (1.5, 1.4), (3.5, 3), (4, 3.5), (2, 2), (5, 4)),
    ("gru", "bf16"): ((5.3, 4), (6.5, 5.5), (6.5, 5), (4.3, 3.2), (2, 1.7), (7, 4.8)),
    ("gru", "fp32"): ((4.5, 4), (1, 1), (3.7, 3.5), (4.5, 3.8), (2, 2), (5.5, 4.5)),
    ("peephole_lstm", "bf16"): ((5, 3.8), (6, 5), (6.5, 5), (3.3, 2.6), (1.7, 1.4), (6, 4.2)),
    ("lstm", "tf32"): ((1, 1),) * 6,
}
KINDS = ("inference", "training")
EVERY_CELL = Shape(16, 512, 256, 256)
BESIDE_OTHERS = Shape(16, 128, 256, 256)


def planned(device: torch.device, asked: argparse.Namespace) -> tuple[Settings, list[Entry]]:
    """What is measured, line by line."""
    cells = catalogue()
    if asked.catalogue:
        alone = tuple(cell for cell in cells.values() if not cell.further)  # of one input
        settings = Settings(
            device, alone, ("inference",), (PRECISIONS["bf16"],), (EVERY_CELL,),
            ways=("graph",), contestants=(OURS,),
        )  # fmt: skip
        return settings, entries(settings)
    if asked.others:
        chosen = (cells["lstm"], cells["gru"], cells["peephole_lstm"], cells["mgu"])
        settings = Settings(device, chosen, shapes=(BESIDE_OTHERS,))
        return settings, entries(settings)
    settings = Settings(device, contestants=(OURS, TORCH))
    lines = [
        Entry(cells[cell], shape, PRECISIONS[precision], kind)
        for shape in SHAPES
        for cell, precision in COLUMNS
        for kind in KINDS
    ]
    return settings, lines


def measure(
    settings: Settings, lines: Iterable[Entry], seconds: float
) -> tuple[list[Line], list[str]]:
    """Measure line by line until the time is over; what was measured, and what failed."""
    start, found, failed = time.perf_counter(), [], []
    for entry in lines:
        if time.perf_counter() - start > seconds:
            print(f"no time for {entry}", flush=True)
            continue
        try:
            found.append(measured(entry, settings))
            print(summary(found[-1]), flush=True)
        except (RuntimeError, InputError) as error:  # the others are measured all the same
            failed.append(f"FAILED {entry}: {error}")
            print(failed[-1], flush=True)
    return found, failed


def summary(line: Line) -> str:
    """A line in one line."""
    times = "   ".join(
        f"{way}: " + ", ".join(f"{name} {line.microseconds(way, name):.2f}" for name in samples)
        for way, samples in line.samples.items()
    )
    errors = ", ".join(f"{name} {error:.1e}" for name, error in line.errors.items())
    wrong = "".join(f"  WRONG {name}: {said}" for name, said in line.wrong.items())
    return f"{line.entry!s:44} {times}   first call {line.first:.1f} s   errors {errors}{wrong}"


def misses(lines: Sequence[Line]) -> list[str]:
    """The wanted ratios that were missed."""
    found, known = [], by_entry(lines)
    for (cell, precision), rows in COLUMNS.items():
        for shape, row in zip(SHAPES, rows, strict=True):
            for kind, wanted in zip(KINDS, row, strict=True):
                column = (cell, precision, "gru" if cell == "gru" else "lstm")
                for way, least in (("graph", wanted), ("eager", 1.0)):
                    ratio = against(known, shape, column, kind, way)
                    if ratio is not None and ratio < least:
                        what = f"{cell} {shape} {precision} {kind}, {way}"
                        found.append(f"MISSED {what}: {ratio:.2f}, wanted {least:g}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--others", action="store_true", help="a step loop and torchrecurrent")
    parser.add_argument("--catalogue", action="store_true", help="every cell, ours alone")
    parser.add_argument("--json", type=Path, help="a file for every figure")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for all")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "there is no card with CUDA that torch can use; benchmarks/layers.py is for the CPU"
        )
    device = torch.device("cuda")
    print(", ".join(map(str, card(device).values())), flush=True)
    settings, lines = planned(device, asked)
    found, failed = measure(settings, lines, asked.seconds)
    if asked.json:
        asked.json.write_text(json.dumps(as_data(settings, found), indent=1))
    failed += [] if asked.catalogue or asked.others else misses(found)
    if not asked.catalogue:
        print(f"\nCUDA graphs:\n\n{ratios_table(found, 'graph')}", flush=True)
        print(f"\ncalled from Python:\n\n{ratios_table(found, 'eager')}\n", flush=True)
    print("\n".join(failed) or "nothing is missed")
    sys.exit(1 if failed or any(OURS.name in line.wrong for line in found) else 0)


if __name__ == "__main__":
    main()
