"""The training loop: one model, or several side by side on the same data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatework.train.evaluate import bits_per_byte
from gatework.train.run import Record, Run
from gatework.train.trainer import Step, Trainer

__all__ = ["FINAL_BYTES", "Runner", "fit"]

VALIDATIONS = 12
"""Validations in a run, evenly over its budget; the run is saved at each."""
CURVE_BYTES, FINAL_BYTES = 2**16, 2**18
"""Held-out bytes read for a point of the curve, and for the figure at the end."""
RECORD_SECONDS, SAVE_SECONDS = 1.0, 60.0
"""Time between two records of the training cost, and at most between two checkpoints."""


@dataclass(eq=False)
class Runner:
    """A trainer, the folder that it is saved in, and its steps since the last record."""

    trainer: Trainer
    run: Run
    _steps: list[Step] = field(default_factory=list)
    _recorded: float = 0.0
    _saved: float = 0.0

    def step(self, progress: float) -> None:
        """Take a step."""
        began = time.perf_counter()
        self._steps.append(self.trainer.step(progress))
        self.trainer.seconds += time.perf_counter() - began

    def record(self, progress: float) -> Record:
        """Log the mean over the steps since the last record."""
        self._recorded = self.trainer.seconds
        steps, self._steps = self._steps, []
        return self._log(
            "train",
            progress,
            sum(step.bits_per_byte for step in steps) / len(steps),
            learning_rate=steps[-1].learning_rate,
            gradient_norm=sum(step.gradient_norm for step in steps) / len(steps),
        )

    def validate(self, progress: float) -> Record:
        """Log the cost on held-out text."""
        began = time.perf_counter()
        limit = CURVE_BYTES if progress < 1 else FINAL_BYTES
        bits = bits_per_byte(self.trainer.model, self.trainer.corpus.valid, limit)
        if progress < 1:  # what is measured after the budget is spent is not part of it
            self.trainer.seconds += time.perf_counter() - began
        return self._log("valid", progress, bits)

    def save(self) -> None:
        """Save the run."""
        self._saved = self.trainer.seconds
        self.run.save(self.trainer)

    @property
    def record_is_due(self) -> bool:
        """Whether the last record is old."""
        return self.trainer.seconds - self._recorded >= RECORD_SECONDS

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old."""
        return self.trainer.seconds - self._saved >= SAVE_SECONDS

    def _log(self, split: str, progress: float, bits: float, **more: Any) -> Record:
        trainer = self.trainer
        record = Record(
            split=split,
            step=trainer.steps,
            bytes=trainer.bytes,
            seconds=trainer.seconds,
            progress=progress,
            bits_per_byte=bits,
            **more,
        )
        self.run.log(record)
        return record


def fit(
    runners: Sequence[Runner],
    listen: Callable[[Runner, Record], None],
    interrupted: Callable[[], bool] = lambda: False,
) -> bool:
    """Train until the budget is spent, all runners step by step together.

    Those that train side by side see the same bytes in the same order, take the same number of
    steps, and have the first one's budget in common. A run that was saved goes on where it was.

    Args:
        runners: what to train; one, or several with the same budget, batch size and window.
        listen: called with every record.
        interrupted: asked after every step; true ends training there, with a last validation
            and everything saved.

    Returns:
        Whether the budget was spent.
    """
    progress = _progress(runners)
    for runner in runners:
        runner.save()
    ending = False
    while progress < 1 and not ending:
        for runner in runners:
            runner.step(progress)
        before, progress = progress, _progress(runners)
        ending = interrupted()
        validate = ending or _passes_a_mark(before, progress)
        for runner in runners:
            if validate or runner.record_is_due:
                listen(runner, runner.record(progress))
            if validate:
                listen(runner, runner.validate(progress))
            if validate or runner.save_is_due:
                runner.save()
    return progress >= 1


def _progress(runners: Sequence[Runner]) -> float:
    trainers = [runner.trainer for runner in runners]
    seconds = sum(trainer.seconds for trainer in trainers)
    return trainers[0].config.progress(trainers[0].steps, seconds)


def _passes_a_mark(before: float, after: float) -> bool:
    """Whether one of the evenly spaced validations lies between two shares of the budget."""
    return math.floor(after * VALIDATIONS) > math.floor(before * VALIDATIONS)
