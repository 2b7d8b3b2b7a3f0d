"""What looking inside costs: measure an LSTM on a text, with time and memory.

    python benchmarks/lens.py
    python benchmarks/lens.py --characters 1000000 --hidden-size 256 --threads 2

Saturation, retention and units that track four properties are measured in one reading of the text,
each gate and state of every character traced. Weights are random: the cost does not depend on them.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from rich.progress import Progress

from gatework.data import load_corpus
from gatework.lens import (
    RetentionMeter,
    SaturationMeter,
    UnitMeter,
    carry_state,
    label_text,
    measure,
)
from gatework.tasks import task_class
from gatework.train import RunConfig
from gatework.train.models import make_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = RunConfig(cell=options.cell, hidden_size=options.hidden_size)
    model = make_model(config, task_class("text")(config.task, {}))
    text = load_corpus(()).train[: options.characters]
    carry = carry_state()
    print(f"before: {_peak_memory():.0f} MB")
    started, processor = time.perf_counter(), time.process_time()
    with Progress() as shown:
        task = shown.add_task("measuring", total=len(text))
        measure(
            model,
            label_text(text),
            SaturationMeter(),
            RetentionMeter(),
            UnitMeter(),
            run=lambda model, batch: carry(model, batch[0]),
            progress=lambda steps: shown.update(task, completed=steps),
        )
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    print(
        f"{len(text):,} characters, {options.cell} of {options.hidden_size} units, "
        f"{options.threads} thread(s): {seconds:.1f} s, of the processors {processor:.1f} s, "
        f"at most {_peak_memory():.0f} MB"
    )


def _peak_memory() -> float:
    """The most memory that the process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
