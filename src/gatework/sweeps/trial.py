"""One trial of a sweep: a run like any other, whose course the study is told.

A trial that was interrupted, or whose process was killed, stays "running" in the study. Its folder
is locked as long as a process trains in it, so any that finds it unlocked goes on with its run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gatework.errors import InputError
from gatework.needed import needed
from gatework.reports.run_page import run_page
from gatework.reports.trained import report_on
from gatework.sweeps.space import Space, with_settings
from gatework.sweeps.study import sampler_of
from gatework.tasks import Source, Task, task_class
from gatework.train import Record, Run, RunConfig, Runner, Trainer, fit
from gatework.train.claim import Claim, claim
from gatework.train.manifest import is_run
from gatework.train.records import curve
from gatework.train.threads import with_threads
from gatework.train.trainer import Diverged

__all__ = ["ENDED", "Listen", "Plan", "next_trial", "run_trial"]

ENDED = "ended"
"""The attribute of a trial that says why it has no result."""

Listen = Callable[[Runner, Record], None]


@dataclass(eq=False)
class Plan:
    """What all trials of a sweep have in common.

    Attributes:
        base: the settings that are not searched.
        space: those that are.
        folder: where the runs lie.
        study: of Optuna.
        loaded: the task and the source, read once.
    """

    base: RunConfig
    space: Space
    folder: Path
    study: Any
    loaded: tuple[Task, Source]

    def folder_of(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / f"{number:04}"

    def config_of(self, trial: Any) -> RunConfig:
        """The settings that the study chooses for a trial."""
        self.study.sampler = sampler_of(self.base.seed, trial.number)
        chosen: dict[str, Any] = {}
        for name, values in sorted(self.space.items()):
            chosen |= values.drawn(name, trial)
        return with_settings(self.base, chosen)

    def source_of(self, config: RunConfig) -> tuple[Task, Source]:
        """The task and the source; read again where a setting of the task was chosen."""
        if config.task == self.base.task:
            return self.loaded
        return task_class(config.task.kind).load(config.task, config.files)


def next_trial(plan: Plan, trials: int) -> tuple[Any, Claim] | None:
    """Return a trial that nobody runs, and the lock on its folder; None where all are taken.

    Args:
        plan: of the sweep.
        trials: how many the study is to have.
    """
    return _abandoned(plan) or _new(plan, trials)


def _abandoned(plan: Plan) -> tuple[Any, Claim] | None:
    optuna = needed("optuna", "sweep")
    running = optuna.trial.TrialState.RUNNING
    for found in plan.study.get_trials(deepcopy=False, states=(running,)):
        folder = plan.folder_of(found.number)
        if not folder.is_dir():
            continue  # another machine's
        try:
            lock = claim(folder)
        except InputError:
            continue  # a process is at it
        if plan.study.trials[found.number].state == running:
            return optuna.trial.Trial(plan.study, found._trial_id), lock
    return None


def _new(plan: Plan, trials: int) -> tuple[Any, Claim] | None:
    if len(plan.study.get_trials(deepcopy=False)) >= trials:
        return None
    trial = plan.study.ask()
    folder = plan.folder_of(trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return trial, claim(folder)
    except InputError:  # another process saw the folder first, and runs the trial
        return next_trial(plan, trials)


def run_trial(plan: Plan, trial: Any, listen: Listen, interrupted: Callable[[], bool]) -> None:
    """Train the run of a trial, and tell the study how it ended; nothing where it is interrupted.

    Raises:
        InputError: its settings cannot be used. A run that diverges is one that did badly.
    """
    states = needed("optuna", "sweep").trial.TrialState
    try:
        ended = _trained(plan, trial, listen, interrupted)
    except Diverged as error:
        trial.set_user_attr(ENDED, error.came)
        plan.study.tell(trial, state=states.PRUNED)
    except InputError as error:
        trial.set_user_attr(ENDED, error.came)
        plan.study.tell(trial, state=states.FAIL)
        raise
    else:
        if ended.cost is not None:
            plan.study.tell(trial, ended.cost)
        elif ended.pruned:
            plan.study.tell(trial, state=states.PRUNED)


class _Ended(NamedTuple):
    """How a run has ended; neither pruned nor with a cost where it was interrupted."""

    pruned: bool
    cost: float | None = None


def _trained(plan: Plan, trial: Any, listen: Listen, interrupted: Callable[[], bool]) -> _Ended:
    """Train the run of a trial, until others turn out to have done better by then."""
    pruned = False

    def heard(runner: Runner, record: Record) -> None:
        nonlocal pruned
        listen(runner, record)
        if record.split == "valid" and record.progress < 1:
            pruned = pruned or _told(trial, runner.run, record)

    config = plan.config_of(trial)
    with torch.random.fork_rng(devices=[]), with_threads(config.usable_threads):
        runner = _runner(plan, trial.number, config)
        if not fit([runner], heard, lambda: pruned or interrupted()):
            runner.run.write_report(run_page(runner.run, None))
            return _Ended(pruned)
        report_on(runner)
    best = runner.run.best()
    return _Ended(False, best.cost if best else runner.run.validations()[-1].cost)


def _runner(plan: Plan, number: int, config: RunConfig) -> Runner:
    """A run that begins, or the one that was begun before."""
    folder = plan.folder_of(number)
    if not is_run(folder):
        trainer = Trainer(config, *plan.source_of(config))
        return Runner(trainer, Run.create(trainer, folder))
    run = Run.open(folder)
    trainer = run.load_trainer(run.config)
    run.go_on(trainer)
    return Runner(trainer, run)


def _told(trial: Any, run: Run, record: Record) -> bool:
    """Tell the study of a validation; return whether the run is worth no more time."""
    number = len(curve(run.records(), "valid"))
    known = trial.study.trials[trial.number].intermediate_values
    if number not in known:
        trial.report(record.cost, number)
    return bool(trial.should_prune())
