"""Files larger than the memory they are learned in: a table of 2 GB, a text of 5 GB, made here.

    python benchmarks/large_files.py table
    python benchmarks/large_files.py text --megabytes 500

The table has eight columns of random numbers by the second, the text words drawn at random. A file
is read, a GRU is trained on it for some steps and measured; beside each is the most memory that the
process has had until then, torch's own and the pages of the file that are mapped with it. Wanted:
below 1 GB. The file is made in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from gatework.train import RunConfig, Trainer

WANTED = 1000.0
STEPS, AT_ONCE = 20, 500_000
OF_A_ROW = 63e-6
"""Megabytes that a row of the table takes."""


def make_table(path: Path, megabytes: int) -> None:
    """Write a table of parquet."""
    import polars as pl

    rows = int(megabytes / OF_A_ROW)
    generator = np.random.default_rng(0)
    times = pl.Series(np.arange(rows) * 1_000_000).cast(pl.Datetime("us"))
    columns = {"y" if k == 0 else f"x{k}": generator.random(rows) for k in range(8)}
    pl.DataFrame({"ds": times, **columns}).write_parquet(path, row_group_size=AT_ONCE)


def make_text(path: Path, megabytes: int) -> None:
    """Write lines of words."""
    generator = np.random.default_rng(0)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    words = [bytes(generator.choice(letters, 1 + k % 12)) for k in range(5_000)]
    with path.open("wb") as file:
        while file.tell() < megabytes * 1e6:
            drawn = generator.integers(len(words), size=AT_ONCE).tolist()
            lines = (b" ".join(words[k] for k in drawn[at : at + 9]) for at in range(0, AT_ONCE, 9))
            file.write(b"\n".join(lines) + b"\n")


def most() -> float:
    """The most megabytes of memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


class Kind(NamedTuple):
    """A kind of file."""

    make: Callable[[Path, int], None]
    name: str
    task: str
    megabytes: int


KINDS = {
    "table": Kind(make_table, "large.parquet", "forecast", 2_000),
    "text": Kind(make_text, "large.txt", "text", 5_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--megabytes", type=int, help="2,000 of a table, 5,000 of a text")
    asked = parser.parse_args()
    kind = KINDS[asked.kind]
    with TemporaryDirectory() as folder:
        path = Path(folder, kind.name)
        told = (path, asked.megabytes or kind.megabytes)
        making = multiprocessing.get_context("spawn").Process(target=kind.make, args=told)
        making.start()
        making.join()
        print(f"{path.stat().st_size / 1e6:,.0f} MB of {asked.kind}; {most():,.0f} MB of memory")
        trainer = Trainer.of(RunConfig.of(task=kind.task, files=[path], steps=STEPS, cell="gru"))
        print(f"read     {most():,.0f} MB")
        for step in range(STEPS):
            trainer.step(step / STEPS)
        print(f"trained  {most():,.0f} MB")
        trainer.task.evaluate(trainer.model, trainer.source, quick=True)
        print(f"measured {most():,.0f} MB of at most {WANTED:,.0f}")
    sys.exit(most() > WANTED)


if __name__ == "__main__":
    main()
