"""The training loop: one model, or several side by side on the same data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gatework.tasks import Evaluation
from gatework.tasks.task import Batch
from gatework.train.board import Board, gate_means
from gatework.train.checkpoint import Place, save_trainer
from gatework.train.records import Record, Split
from gatework.train.run import Run
from gatework.train.trainer import Diverged, Step, Trainer

__all__ = ["Runner", "fit"]

VALIDATIONS, SPARING = 12, 6
"""Validations in a run, evenly over its budget, while so many times as much is learned from as is
held out and read: to learn takes two to four times as long as to read, so validation takes less
than a tenth of the time."""
RECORD_SECONDS = 1.0
"""Time between two records of the training cost."""
FIRST_SAVE = 5.0
"""Time spent before the first checkpoint, at most."""
PATIENCE = 0.5
"""Time that a last validation may take when the user has asked to end."""


@dataclass(eq=False)
class Runner:
    """A trainer, the folder that it is saved in, and its steps since the last record.

    Of processes that train together only the leading one has the folder.
    """

    trainer: Trainer
    own_run: Run | None
    _steps: list[Step] = field(default_factory=list)
    _recorded: float = 0.0
    _saved: float = 0.0
    _best: float | None = None
    _board: Board | None = None
    _watched: Batch | None = None

    def __post_init__(self) -> None:
        trainer, run = self.trainer, self.own_run
        if trainer.config.tensorboard and run is not None:
            self._board = Board(run.path, trainer.task.unit, run.records())
            self._watched = trainer.first_batch()

    @property
    def run(self) -> Run:
        """The folder."""
        assert self.own_run is not None
        return self.own_run

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
            sum(step.cost for step in steps) / len(steps),
            learning_rate=steps[-1].learning_rate,
            gradient_norm=sum(step.gradient_norm for step in steps) / len(steps),
        )

    def validate(self, progress: float) -> Record:
        """Log how well it does on held-out data, and keep the model if it is the best so far."""
        began = time.perf_counter()
        found = self._evaluated(quick=True)
        if progress < 1:  # what is measured after the budget is spent is not part of it
            self.trainer.seconds += time.perf_counter() - began
        self._keep_if_best(found.cost, progress)
        return self._log("valid", progress, found.cost, gates=self._gates(), **_told(found))

    def finish(self) -> Iterator[Record]:
        """Log how well it does in the end, on more held-out data where `validate` reads a part.

        A process that was killed after its last step has not validated yet: that is done now.
        """
        if not any(r.split == "valid" and r.step == self.trainer.steps for r in self.run.records()):
            yield self.validate(1.0)
        if self._read(quick=False) > self._read(quick=True):
            found = self._evaluated(quick=False)
            yield self._log("valid", 1.0, found.cost, **_told(found))

    def _read(self, *, quick: bool) -> int:
        """How much held-out data a validation reads."""
        return self.trainer.task.evaluated(self.trainer.source, quick=quick)

    def validations(self, progress: float) -> int:
        """How many validations there should have been, at a share of the budget."""
        apart = SPARING * max(1, self._read(quick=True))
        return math.floor(min(VALIDATIONS * progress, self.trainer.seen / apart))

    @property
    def validates_soon(self) -> bool:
        """Whether a validation is a matter of a moment, judged by how long learning takes."""
        trainer = self.trainer
        each = trainer.seconds / max(1, trainer.seen)
        return each * self._read(quick=True) / 2 < PATIENCE

    @property
    def has_ceased_to_improve(self) -> bool:
        """Whether there were as many validations without a better one as the settings wait for."""
        patience = self.trainer.config.patience
        best = None if patience is None else self.run.best()
        if patience is None or best is None:
            return False
        later = {r.step for r in self.run.records() if r.split == "valid" and r.step > best.step}
        return len(later) >= patience

    def save(self) -> None:
        """Save the run."""
        self._saved = self.trainer.seconds
        if self.own_run is None:
            save_trainer(self.trainer, None)  # has a part of what the leading process writes
        else:
            self.own_run.save(self.trainer)

    def close(self) -> None:
        """Let go of the files that are written all along."""
        if self._board:
            self._board.close()

    def _gates(self) -> dict[str, float] | None:
        return gate_means(self.trainer.model, self._watched) if self._watched else None

    def _evaluated(self, *, quick: bool) -> Evaluation:
        trainer = self.trainer
        found = trainer.task.evaluate(trainer.model, trainer.source, quick=quick)
        if math.isfinite(found.cost):
            return found
        raise Diverged(
            f"training diverged at step {trainer.steps}: held-out data costs {found.cost}",
            "finite predictions",
            f"train with a learning rate below {trainer.config.peak_rate}",
        )

    def _keep_if_best(self, cost: float, progress: float) -> None:
        if self._best is None:  # the first time, perhaps of a run that goes on
            best = self.run.best()
            self._best = best.cost if best else math.inf
        if cost < self._best:
            self._best = cost
            place = Place(step=self.trainer.steps, progress=progress, cost=cost)
            self.run.save_best(self.trainer.model, place)

    @property
    def record_is_due(self) -> bool:
        """Whether the last record is old."""
        return self.trainer.seconds - self._recorded >= RECORD_SECONDS

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old; early in a run, one of a few seconds is."""
        seconds = self.trainer.seconds
        apart = self.trainer.config.save_seconds
        return seconds - self._saved >= min(apart, max(FIRST_SAVE, seconds / 2))

    def _log(self, split: Split, progress: float, cost: float, **more: Any) -> Record:
        trainer = self.trainer
        record = Record(
            split=split,
            step=trainer.steps,
            seen=trainer.seen,
            seconds=trainer.seconds,
            progress=progress,
            cost=cost,
            **more,
        )
        self.run.log(record)
        if self._board:
            self._board.add(record)
        return record


def _told(found: Evaluation) -> dict[str, Any]:
    """The figures of a record; none where the cost says all."""
    return {"figures": dict(found.figures) or None, "naive": dict(found.naive) or None}


def fit(
    runners: Sequence[Runner],
    listen: Callable[[Runner, Record], None],
    interrupted: Callable[[], bool] = lambda: False,
) -> bool:
    """Train until the budget is spent, all runners step by step together.

    Those that train side by side see the same data in the same order, take the same number of
    steps, and have the first one's budget in common. A run that was saved goes on where it was.

    Args:
        runners: what to train; one, or several with the same budget, batch size and window.
        listen: called with every record.
        interrupted: asked after every step; true ends training there, with a last validation
            and everything saved.

    Returns:
        Whether the budget was spent.
    """
    try:
        return _fit(runners, listen, interrupted)
    finally:
        for runner in runners:
            runner.close()


def _fit(
    runners: Sequence[Runner],
    listen: Callable[[Runner, Record], None],
    interrupted: Callable[[], bool],
) -> bool:
    ranks = runners[0].trainer.ranks
    (progress,) = ranks.agree(_progress(runners))
    _save(runners)
    ending: float = False
    ceased: float = False
    while progress < 1 and not ending and not ceased:
        marks = runners[0].validations(progress)
        for runner in runners:
            runner.step(progress)
        decided = _decided(runners, marks, interrupted()) if ranks.leads else Decided()
        progress, ending, save, validate = decided = Decided(*ranks.agree(*decided))
        if save:
            _save(runners)
        if ranks.leads:
            _measure(runners, decided, listen)
            ceased = bool(validate) and all(r.has_ceased_to_improve for r in runners)
        if validate:
            (ceased,) = ranks.agree(ceased)
    if ceased:
        _save(runners)
    finished = progress >= 1 or bool(ceased)
    if finished and ranks.leads:
        for runner in runners:
            for last in runner.finish():
                listen(runner, last)
    ranks.wait()
    return finished


class Decided(NamedTuple):
    """What is done after a step; numbers, since it is told to other processes."""

    progress: float = 0.0
    ending: float = False
    save: float = False
    validate: float = False


def _decided(runners: Sequence[Runner], marks: int, interrupted: bool) -> Decided:
    progress = _progress(runners)
    save = interrupted or progress >= 1 or any(runner.save_is_due for runner in runners)
    validate = (
        progress >= 1
        or runners[0].validations(progress) > marks
        or (interrupted and all(runner.validates_soon for runner in runners))
    )
    return Decided(progress, interrupted, save, validate)


def _save(runners: Sequence[Runner]) -> None:
    for runner in runners:
        runner.save()


def _measure(
    runners: Sequence[Runner], decided: Decided, listen: Callable[[Runner, Record], None]
) -> None:
    """Log what the steps cost, and where it is time how well the models do."""
    for runner in runners:
        if decided.ending or decided.validate or runner.record_is_due:
            listen(runner, runner.record(decided.progress))
        if decided.validate:
            listen(runner, runner.validate(decided.progress))


def _progress(runners: Sequence[Runner]) -> float:
    trainers = [runner.trainer for runner in runners]
    seconds = sum(trainer.seconds for trainer in trainers)
    return trainers[0].config.progress(trainers[0].steps, seconds)
