"""A table larger than the memory it is learned in: parquet of 2 GB, made on the spot.

    python benchmarks/large_table.py
    python benchmarks/large_table.py --rows 1_000_000

Eight columns of random numbers by the second. They are read, a GRU is trained on them for some
steps and measured; beside each is the most memory that the process has had until then, torch's own
with it. Wanted: below 1 GB. The table is made in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gatework.train import RunConfig, Trainer

WANTED = 1000.0
STEPS, AT_ONCE = 20, 500_000


def make(path: Path, rows: int) -> None:
    """Write the table."""
    import polars as pl

    generator = np.random.default_rng(0)
    times = pl.Series(np.arange(rows) * 1_000_000).cast(pl.Datetime("us"))
    columns = {"y" if k == 0 else f"x{k}": generator.random(rows) for k in range(8)}
    pl.DataFrame({"ds": times, **columns}).write_parquet(path, row_group_size=AT_ONCE)


def megabytes() -> float:
    """The most memory so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32_000_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        making = multiprocessing.get_context("spawn").Process(target=make, args=(path, asked.rows))
        making.start()
        making.join()
        print(f"{path.stat().st_size / 1e6:,.0f} MB of parquet; {megabytes():,.0f} MB of memory")
        config = RunConfig.of(task="forecast", files=[path], steps=STEPS, threads=1, cell="gru")
        trainer = Trainer.of(config)
        print(f"read     {megabytes():,.0f} MB")
        for step in range(STEPS):
            trainer.step(step / STEPS)
        print(f"trained  {megabytes():,.0f} MB")
        trainer.task.evaluate(trainer.model, trainer.source, quick=True)
        print(f"measured {megabytes():,.0f} MB of at most {WANTED:,.0f}")
    sys.exit(megabytes() > WANTED)


if __name__ == "__main__":
    main()
