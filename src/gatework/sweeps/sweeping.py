"""Sweeps: what `gatework sweep` and `gatework.sweep` do."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatework.errors import InputError
from gatework.lang import Cell
from gatework.needed import needed
from gatework.reports.page import table
from gatework.reports.trained import Texts, files_of
from gatework.sweeps.space import space_of
from gatework.sweeps.study import described, open_study, opened_store, quiet
from gatework.sweeps.trial import ENDED, Listen, Plan, next_trial, run_trial
from gatework.tasks import task_class
from gatework.train import RunConfig, cell_settings
from gatework.train.run import new_folder

__all__ = ["TRIALS", "Sweep", "SweepTrial", "plan_of", "sweep", "sweep_on"]

TRIALS = 20
STORE = "study.db"
"""The study of a sweep whose user named no store, in the folder of its runs."""
WORDS = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "interrupted"}


@dataclass(frozen=True)
class SweepTrial:
    """One run of a sweep.

    Attributes:
        number: Its number in the study.
        state: "finished", "pruned", "failed", or "interrupted" (or running elsewhere).
        cost: The least held-out cost that was measured, in the task's unit; None where none was.
        settings: What was chosen for it.
        folder: Its run folder.
        ended: Why it has no result, if there is more to say.
    """

    number: int
    state: str
    cost: float | None
    settings: Mapping[str, Any]
    folder: Path
    ended: str = ""

    @property
    def again(self) -> str:
        """The command that repeats the run."""
        return f"gatework train --config {shlex.quote(str(self.folder))}"

    def told(self) -> str:
        """Return what was chosen, for people."""
        return ", ".join(f"{n} {_short(value)}" for n, value in self.settings.items())


@dataclass(frozen=True)
class Sweep:
    """Runs whose settings an Optuna study has chosen. Printed, it is a table.

    Attributes:
        trials: All of the study, those of before and of other processes too, in their order.
        unit: Of the cost; less is better.
        folder: Where the runs lie.
        study: Optuna's, for its plots and everything else that it can do.
    """

    trials: tuple[SweepTrial, ...]
    unit: str
    folder: Path
    study: Any = field(repr=False)

    @property
    def best(self) -> SweepTrial:
        """The finished trial with the least cost.

        Raises:
            InputError: None has finished.
        """
        finished = [t for t in self.trials if t.state == "finished" and t.cost is not None]
        if not finished:
            raise InputError(
                f"no finished run among {len(self.trials)} of {str(self.folder)!r}",
                "one that has reached the end of its budget",
                "let the sweep go on: begin it again as before",
            )
        return min(finished, key=lambda trial: trial.cost or 0.0)

    def table(self) -> list[dict[str, str]]:
        """A row for each trial, the best first; `pandas.DataFrame` takes it."""
        last = float("inf")
        order = {"finished": 0, "pruned": 1}
        ranked = sorted(
            self.trials, key=lambda t: (order.get(t.state, 2), last if t.cost is None else t.cost)
        )
        return [self._row(trial) for trial in ranked]

    def _row(self, trial: SweepTrial) -> dict[str, str]:
        cost = "" if trial.cost is None else f"{trial.cost:.4g}"
        chosen = {name: _short(value) for name, value in trial.settings.items()}
        return {"trial": str(trial.number), "state": trial.state, self.unit: cost, **chosen}

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = self.table()
        header = list({name: None for row in rows for name in row})
        return header, [[row.get(name, "") for name in header] for row in rows]

    def __str__(self) -> str:
        header, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = ("  ".join(map(str.rjust, row, widths)).rstrip() for row in (header, *rows))
        return "\n".join([*lines, f"runs: {self.folder}"])

    def _repr_html_(self) -> str:
        return table(*self._cells())


def sweep(
    text: Texts = None,
    *,
    search: Mapping[str, Any],
    trials: int = TRIALS,
    study: str | None = None,
    storage: Any = None,
    out: str | Path | None = None,
    **settings: Any,
) -> Sweep:
    """Train many runs with settings that an Optuna study chooses, and find the best.

    As the command `gatework sweep`. What is made small is the held-out cost of each run's best
    model. A run that does worse than the median of those before it, at the same validation, is
    ended. Called again with the same study, it goes on, also with a run that was interrupted.

    Args:
        text: The file, or the files, to learn from; without it, Python's standard library.
        search: What is tried: `{"hidden_size": "32..256:log", "lr": "1e-4..1e-2:log", "cell":
            [gatework.cells.gru, my_cell]}`, ranges with both ends included, or lists.
        trials: How many runs the study is to have, with those it has.
        study: Name of the study, and of the folder under `runs/`.
        storage: Where Optuna keeps it: a URL or a storage; without it, a file in the folder.
        out: The folder of the runs; without it, one under `runs/`.
        settings: Settings that all runs have, as `gatework.train_cell` takes them; `cell=` too.

    Raises:
        InputError: A ValueError that says what cannot be used, and how to mend it.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("notes.txt").write_text("What is written twice is learned once. " * 100)
        >>> found = gw.sweep("notes.txt", search={"hidden_size": "4..16"}, trials=2, steps=4)
        >>> len(found.trials), found.best.state
        (2, 'finished')
    """
    if isinstance(cell := settings.get("cell"), Cell):
        settings |= cell_settings(cell)
    folder = None if out is None else Path(out)
    with quiet():
        plan = plan_of(search, study, storage, folder, {**settings, "files": files_of(text)})
        return sweep_on(plan, trials)


def plan_of(
    search: Mapping[str, Any],
    study: str | None,
    storage: Any,
    out: Path | None,
    settings: Mapping[str, Any],
) -> Plan:
    """Return what all trials have in common; a study that is there already goes on.

    Args:
        search: what is tried.
        study: name of the study.
        storage: where Optuna keeps it.
        out: the folder of the runs.
        settings: fields of `RunConfig` that all runs have.

    Raises:
        InputError: something of it cannot be used.
    """
    needed("optuna", "sweep")
    base = RunConfig.of(**settings)
    space = space_of(search, base)
    loaded = task_class(base.task.kind).load(base.task, base.files)
    theirs = None if storage is None else opened_store(storage)  # told before there is a folder
    folder = _folder(study, theirs, out)
    store = theirs or opened_store(f"sqlite:///{folder / STORE}")
    about = described(base, space, loaded[1].sha256)
    return Plan(base, space, folder, open_study(study or folder.name, store, about), loaded)


def _folder(study: str | None, storage: Any, out: Path | None) -> Path:
    """The folder of the runs: that of a sweep which goes on, or a new one."""
    if study is not None and out is None:
        if Path(study).name != study:
            raise InputError(
                f"a study called {study!r}",
                "a name that a folder can have",
                "give another --study, or name the folder of its runs with --out",
            )
        out = Path("runs", study)
    goes_on = out is not None and (storage is not None or (out / STORE).exists())
    if out is None or not goes_on:
        return new_folder("sweep", out)
    out.mkdir(parents=True, exist_ok=True)
    return out


def sweep_on(
    plan: Plan,
    trials: int,
    listen: Listen = lambda *_: None,
    ended: Callable[[SweepTrial], None] = lambda _: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Sweep:
    """Run trials until there are so many, or until it is interrupted.

    Args:
        plan: of the sweep.
        trials: how many the study is to have.
        listen: called with every record of a run.
        ended: called with every trial that has ended here.
        interrupted: asked after every step.

    Raises:
        InputError: the settings of a trial cannot be used, and none has ever finished.
    """
    while not interrupted() and (taken := next_trial(plan, trials)):
        trial, _lock = taken
        try:
            run_trial(plan, trial, listen, interrupted)
        except InputError:
            if not any(known.state == "finished" for known in trials_of(plan)):
                raise
        ended(trials_of(plan)[trial.number])
    return Sweep(trials_of(plan), plan.loaded[0].unit, plan.folder, plan.study)


def trials_of(plan: Plan) -> tuple[SweepTrial, ...]:
    """Return all trials of a study."""
    return tuple(
        SweepTrial(
            number=found.number,
            state=WORDS.get(found.state.name, "interrupted"),
            cost=_least(found),
            settings=dict(found.params),
            folder=plan.folder_of(found.number),
            ended=found.user_attrs.get(ENDED, ""),
        )
        for found in plan.study.get_trials(deepcopy=False)
    )


def _least(found: Any) -> float | None:
    """The least cost of a trial that was told to the study."""
    if found.state.name == "COMPLETE":
        return float(found.value)
    return min(found.intermediate_values.values(), default=None)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
