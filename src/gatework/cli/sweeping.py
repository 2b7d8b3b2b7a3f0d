"""`gatework sweep`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from gatework.cli.asked import given
from gatework.cli.interrupt import Interrupt
from gatework.cli.progress import TrainingProgress
from gatework.cli.terminal import Terminal
from gatework.cli.training import announce_source
from gatework.cli.typed_cells import cells_typed
from gatework.errors import InputError
from gatework.sweeps.study import quiet
from gatework.sweeps.sweeping import Sweep, SweepTrial, plan_of, sweep_on
from gatework.sweeps.trial import Plan
from gatework.train import Record, Runner

__all__ = ["search_typed", "sweep"]


def sweep(
    search: Mapping[str, Any],
    trials: int,
    study: str | None,
    storage: str | None,
    settings: Mapping[str, Any],
    out: Path | None,
) -> None:
    """Train many runs, tell how each did, and which was best.

    Args:
        search: what is tried, by setting.
        trials: how many runs the study is to have.
        study: its name.
        storage: the URL of its store.
        settings: fields of `RunConfig`; None for those that the user did not give.
        out: the folder of the runs.
    """
    console = Terminal()
    with quiet():
        plan = plan_of(search, study, storage, out, given(settings))
        announce_source(console, plan.base, *plan.loaded)
        _announce(console, plan, trials)
        with Interrupt() as interrupted, _Shown(console) as shown:
            found = sweep_on(
                plan,
                trials,
                shown,
                lambda trial: _show_trial(console, trial, plan.loaded[0].unit),
                interrupted,
            )
    if interrupted():
        again = "the same command" + f" and --out {shlex.quote(str(plan.folder))}" * (study is None)
        console.print(f"interrupted, all saved; go on with: {again}")
        raise typer.Exit(interrupted.exit_code)
    _show_best(console, found)


def search_typed(texts: Sequence[str]) -> dict[str, Any]:
    """Return what was typed as `--search NAME=VALUES`, by name.

    Raises:
        InputError: one is of another form, or names a cell that is not there.

    Example:
        >>> search_typed(["hidden-size=32..256:log", "pool=last,mean"])
        {'hidden_size': '32..256:log', 'pool': 'last,mean'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not (name and equals and values) or name in found:
            raise InputError(
                f"--search {text}" + " a second time" * (name in found),
                "a setting and its values, each setting once",
                "write --search hidden_size=32..256:log or --search cell=gru,lstm",
            )
        found[name] = list(cells_typed([values])) if name == "cell" else values
    return found


class _Shown:
    """Shows the run that is being trained in a terminal; elsewhere a line for each trial will do.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: tuple[Runner, TrainingProgress] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, runner: Runner, record: Record) -> None:
        """Show a record."""
        if not self._console.is_terminal:
            return
        if self._shown is None or self._shown[0] is not runner:
            self._stack.close()
            self._shown = (runner, TrainingProgress([runner], self._console))
            self._stack.enter_context(self._shown[1])
        self._shown[1](runner, record)


def _announce(console: Console, plan: Plan, trials: int) -> None:
    known = len(plan.study.get_trials(deepcopy=False))
    goes_on = f", going on after {known}" if known else ""
    console.print(
        f"sweep  {plan.folder}, {trials} runs{goes_on}; searched: {', '.join(plan.space)}"
    )


def _show_trial(console: Console, trial: SweepTrial, unit: str) -> None:
    cost = "" if trial.cost is None else f"  {trial.cost:.4g} {unit}"
    state = "" if trial.state == "finished" else f"  {trial.state}"
    reason = f" ({trial.ended})" if trial.ended else ""
    console.print(f"run {trial.number:>4}{cost}{state}{reason}  {trial.told()}")


def _show_best(console: Console, found: Sweep) -> None:
    best = found.best
    states = [trial.state for trial in found.trials]
    counts = {state: states.count(state) for state in dict.fromkeys(sorted(states))}
    told = ", ".join(
        f"{n} {'still running' if s == 'interrupted' else s}" for s, n in counts.items()
    )
    console.print(f"\nruns   {told}")
    console.print(f"best   run {best.number}: {best.cost:.4g} {found.unit}, with {best.told()}")
    console.print(f"       {best.folder}")
    console.print(f"again  {best.again}")
