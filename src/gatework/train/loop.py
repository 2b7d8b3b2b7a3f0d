"""The training loop: one model, or several side by side on the same data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatework.errors import InputError
from gatework.train.checkpoint import Place
from gatework.train.evaluate import bits_per_byte
from gatework.train.records import Record, Split
from gatework.train.run import Run
from gatework.train.trainer import Step, Trainer

__all__ = ["Runner", "fit"]

VALIDATIONS, SPARING = 12, 6
"""Validations in a run, evenly over its budget, while so many times as many bytes are learned from
as are held out and read: to learn from a byte takes two to four times as long as to read it, so
validation takes less than a tenth of the time."""
CURVE_BYTES, FINAL_BYTES = 2**16, 2**18
"""Held-out bytes read for a point of the curve, and for the figure at the end."""
RECORD_SECONDS = 1.0
"""Time between two records of the training cost."""
FIRST_SAVE, SAVE_SECONDS = 5.0, 30.0
"""Time spent before the first checkpoint, and at most between two later ones."""
PATIENCE = 0.5
"""Time that a last validation may take when the user has asked to end."""


@dataclass(eq=False)
class Runner:
    """A trainer, the folder that it is saved in, and its steps since the last record."""

    trainer: Trainer
    run: Run
    _steps: list[Step] = field(default_factory=list)
    _recorded: float = 0.0
    _saved: float = 0.0
    _best: float | None = None

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
        """Log the cost on held-out text, and keep the model if it is the best so far."""
        began = time.perf_counter()
        bits = self._held_out_cost(CURVE_BYTES)
        if progress < 1:  # what is measured after the budget is spent is not part of it
            self.trainer.seconds += time.perf_counter() - began
        self._keep_if_best(bits, progress)
        return self._log("valid", progress, bits)

    def finish(self) -> Record | None:
        """Log the cost on more held-out text, where there is more than `validate` reads."""
        if self.held_out <= CURVE_BYTES:
            return None
        return self._log("valid", 1.0, self._held_out_cost(FINAL_BYTES))

    @property
    def held_out(self) -> int:
        """Held-out bytes that there are to read."""
        return len(self.trainer.corpus.valid) - 1

    def validations(self, progress: float) -> int:
        """How many validations there should have been, at a share of the budget."""
        apart = SPARING * max(1, min(self.held_out, CURVE_BYTES))
        return math.floor(min(VALIDATIONS * progress, self.trainer.bytes / apart))

    @property
    def validates_soon(self) -> bool:
        """Whether a validation is a matter of a moment, judged by how long learning takes."""
        trainer = self.trainer
        per_byte = trainer.seconds / max(1, trainer.bytes)
        return per_byte * min(self.held_out, CURVE_BYTES) / 2 < PATIENCE

    def save(self) -> None:
        """Save the run."""
        self._saved = self.trainer.seconds
        self.run.save(self.trainer)

    def _held_out_cost(self, limit: int) -> float:
        bits = bits_per_byte(self.trainer.model, self.trainer.corpus.valid, limit)
        if math.isfinite(bits):
            return bits
        raise InputError(
            f"training diverged at step {self.trainer.steps}: held-out text costs {bits} bits",
            "finite predictions",
            f"train with a learning rate below {self.trainer.config.peak_rate}",
        )

    def _keep_if_best(self, bits: float, progress: float) -> None:
        if self._best is None:  # the first time, perhaps of a run that goes on
            best = self.run.best()
            self._best = best.bits_per_byte if best else math.inf
        if bits < self._best:
            self._best = bits
            place = Place(step=self.trainer.steps, progress=progress, bits_per_byte=bits)
            self.run.save_best(self.trainer.model, place)

    @property
    def record_is_due(self) -> bool:
        """Whether the last record is old."""
        return self.trainer.seconds - self._recorded >= RECORD_SECONDS

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old; early in a run, one of a few seconds is."""
        seconds = self.trainer.seconds
        return seconds - self._saved >= min(SAVE_SECONDS, max(FIRST_SAVE, seconds / 2))

    def _log(self, split: Split, progress: float, bits: float, **more: Any) -> Record:
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
        marks = runners[0].validations(progress)
        for runner in runners:
            runner.step(progress)
        progress, ending = _progress(runners), interrupted()
        for runner in runners:
            if ending or progress >= 1 or runner.save_is_due:
                runner.save()
        validate = (
            progress >= 1
            or runners[0].validations(progress) > marks
            or (ending and all(runner.validates_soon for runner in runners))
        )
        for runner in runners:
            if ending or validate or runner.record_is_due:
                listen(runner, runner.record(progress))
            if validate:
                listen(runner, runner.validate(progress))
    if progress >= 1:
        for runner in runners:
            if last := runner.finish():
                listen(runner, last)
    return progress >= 1


def _progress(runners: Sequence[Runner]) -> float:
    trainers = [runner.trainer for runner in runners]
    seconds = sum(trainer.seconds for trainer in trainers)
    return trainers[0].config.progress(trainers[0].steps, seconds)
