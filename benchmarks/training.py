"""Training on a text: our trainer beside a loop of torch.nn, and two processes beside one.

    python benchmarks/training.py TEXT
    python benchmarks/training.py TEXT --ranks

The loop has the same model, optimiser, clipping, batches and carried state as `gatework train`;
both begin with the same weights, and their costs are compared before anything is timed. They take
turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gatework.train import RunConfig, Trainer

TURNS, STEPS = 9, 12


class Loop:
    """What a user of torch.nn writes."""

    def __init__(self, trainer: Trainer) -> None:
        config, ours = trainer.config, trainer.model
        self.embedding = nn.Embedding(256, config.task.embedding_size)
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        self.layer = kind(config.task.embedding_size, config.hidden_size, config.layers)
        self.decoder = nn.Linear(config.hidden_size, 256)
        for mine, other in ((self.embedding, ours.embedding), (self.decoder, ours.decoder)):
            mine.load_state_dict(other.state_dict())
        self.layer.load_state_dict(ours.layer.state_dict())
        parts = (self.embedding, self.layer, self.decoder)
        self.parameters = [p for part in parts for p in part.parameters()]
        rate, decay = config.peak_rate, config.weight_decay
        self.optimizer = torch.optim.AdamW(self.parameters, rate, weight_decay=decay, fused=True)
        self.config, self.state = config, None
        self.text = trainer.source.train
        self.stretch = (len(self.text) - 1) // config.batch_size
        self.place = 0

    def step(self) -> float:
        window, count = self.config.window, self.config.batch_size
        if self.place + window > self.stretch:
            self.place, self.state = 0, None
        whole = self.text[: count * self.stretch + 1]
        inputs = whole[:-1].view(count, -1)[:, self.place : self.place + window].T.long()
        targets = whole[1:].view(count, -1)[:, self.place : self.place + window].T.long()
        self.place += window
        outputs, state = self.layer(self.embedding(inputs), self.state)
        self.state = (
            tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        )
        loss = cross_entropy(self.decoder(outputs).flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimizer.step()
        return loss.item()


def compare(text: Path, cell: str, hidden: int, threads: int) -> None:
    """Time both in turns."""
    torch.set_num_threads(threads)
    config = RunConfig.of(cell=cell, hidden_size=hidden, files=(text,), threads=threads)
    trainer = Trainer.of(config)
    loop = Loop(trainer)
    costs = [(trainer.task.cost(loop.step()), trainer.step(0.02).cost) for _ in range(3)]
    apart = max(abs(one - other) for one, other in costs)
    assert apart < 1e-3, f"they compute something else: {costs}"
    times: dict[str, list[float]] = {"ours": [], "torch": []}
    for _ in range(TURNS):
        times["ours"].append(timed(lambda: trainer.step(0.02)))
        times["torch"].append(timed(loop.step))
    median = {name: statistics.median(found) for name, found in times.items()}
    amount = config.batch_size * config.window
    ratio = statistics.median(
        theirs / ours for ours, theirs in zip(times["ours"], times["torch"], strict=True)
    )
    print(
        f"{cell} {hidden}, {config.batch_size} x {config.window}: ours "
        f"{amount / median['ours'] / 1e3:.0f} kB/s, loop "
        f"{amount / median['torch'] / 1e3:.0f} kB/s, {ratio:.2f} times"
    )


def timed(step: Callable[[], object]) -> float:
    """Seconds of a step, over some."""
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - began) / STEPS


def ranks(text: Path, steps: int) -> None:
    """Steps per second of one process and of two, one thread each, and how far costs are apart.

    A median over the seconds of a run, most of which are spent on steps alone, not on measuring.
    """
    options = f"--hidden-size 256 --batch-size 32 --steps {steps} --threads 1".split()
    rates, costs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2):
            out = Path(folder, str(count))
            command = ["torch.distributed.run", f"--nproc-per-node={count}", "-m", "gatework"]
            told = [sys.executable, "-m", *command, "train", str(text), *options, "--out", str(out)]
            subprocess.run(told, check=True, capture_output=True)
            records = [json.loads(line) for line in (out / "metrics.jsonl").open()]
            learned = [record for record in records if record["split"] == "train"]
            rates[count] = statistics.median(
                (later["step"] - one["step"]) / (later["seconds"] - one["seconds"])
                for one, later in pairwise(learned)
            )
            costs[count] = records[-1]["cost"]
    print(
        f"one process {rates[1]:.2f} steps a second, two {rates[2]:.2f}: "
        f"{rates[2] / rates[1]:.2f} times; costs {abs(costs[2] / costs[1] - 1):.1e} apart"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--ranks", action="store_true")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.ranks:
        ranks(options.text, options.steps)
    else:
        for cell, hidden in (("lstm", 192), ("lstm", 256), ("gru", 256)):
            compare(options.text, cell, hidden, options.threads)
