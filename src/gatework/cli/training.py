"""`gatework train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from gatework.cli import blocks
from gatework.cli.asked import given
from gatework.cli.interrupt import Interrupt, kept
from gatework.cli.progress import TrainingProgress
from gatework.cli.terminal import Terminal
from gatework.errors import InputError
from gatework.reports.held_out import LEAST_HELD_OUT
from gatework.reports.run_page import run_page
from gatework.reports.trained import report_on
from gatework.tasks import Shown, Source, Task, task_class
from gatework.train import Record, Run, RunConfig, Runner, Trainer, fit
from gatework.train.finder import RateCurve, with_found_rate
from gatework.train.manifest import is_run
from gatework.train.models import parameter_count
from gatework.train.ranks import Ranks, restarted, started_by_torchrun
from gatework.train.run import new_folder

__all__ = ["announce", "announce_source", "resume", "train"]

RATES_WIDTH, RATES_HEIGHT = 50, 5
"""Of the curve of learning rates, in letters."""


def train(settings: Mapping[str, Any], out: Path | None, *, find_rate: bool = False) -> None:
    """Train a new run.

    Args:
        settings: fields of `RunConfig`; None for those that the user did not give.
        out: the run folder; None for a new one under runs/.
        find_rate: look for a learning rate first.
    """
    config = RunConfig.of(**given(settings))
    ranks = started_by_torchrun(config.device)
    if out is not None and restarted() and is_run(out):
        found = {"learning_rate": Run.open(out).config.learning_rate} if find_rate else {}
        _go_on(out, config.model_copy(update=found), ranks)
        return
    console = Terminal(quiet=not ranks.leads)
    task, source = task_class(config.task.kind).load(config.task, config.files)
    curve = None
    if find_rate:
        if out is not None and ranks.leads:
            new_folder(config.cell, out)  # a wrong one is told before the search
        config, curve = with_found_rate(config, task, source, ranks)
    trainer = Trainer(config, task, source, ranks)
    runner = Runner(trainer, Run.create(trainer, out) if ranks.leads else None)
    announce(console, trainer)
    if curve is not None and ranks.leads:
        runner.run.write_rates(curve.as_csv())
        _show_rates(console, curve)
    _train(runner, console)


def resume(path: Path, budget: Mapping[str, Any]) -> None:
    """Go on with a run.

    Args:
        path: its folder.
        budget: the new budget; the run's own where none is given.
    """
    run = Run.open(path)
    config = run.config
    if given(budget):
        config = RunConfig.of(**{**config.model_dump(), **budget})
    _go_on(path, config, started_by_torchrun(config.device))


def _go_on(path: Path, config: RunConfig, ranks: Ranks) -> None:
    """Train from where a run was saved last."""
    run = Run.open(path)
    trainer = run.load_trainer(config, ranks)
    if config.progress(trainer.steps, trainer.seconds) >= 1 and run.has_report:
        raise InputError(
            f"{path} has spent its budget ({trainer.steps:,} steps, {trainer.seconds:.0f} s)",
            "a larger budget, to go on",
            "give --time or --steps, counted from the beginning of the run",
        )
    ranks.wait()  # all have read the checkpoint
    if ranks.leads:
        run.go_on(trainer)
    console = Terminal(quiet=not ranks.leads)
    announce(console, trainer)
    if run.passed_over:
        console.print(f"note   {run.passed_over}; going on from the checkpoint before it")
    spent = config.progress(trainer.steps, trainer.seconds)
    console.print(
        f"run    {path}, going on at step {trainer.steps:,}, {spent:.0%}"
        if trainer.steps
        else f"run    {path}, beginning anew: it was ended before anything was saved"
    )
    _train(Runner(trainer, run if ranks.leads else None), console)


def announce(console: Console, trainer: Trainer) -> None:
    """Say what a model learns, and from what."""
    announce_source(console, trainer.config, trainer.task, trainer.source)


def announce_source(console: Console, config: RunConfig, task: Task, source: Source) -> None:
    """Say what is learned, and from what."""
    learned, held_out = (_size(count, task.counted) for count in source.sizes)
    kind = config.task.kind
    console.print(f"{kind:<6} {source.name}: {learned} to learn from, {held_out} held out")
    for note in source.notes:
        console.print(f"note   {note}")


def _show_rates(console: Console, found: RateCurve) -> None:
    """Draw what steps of all sizes cost, with the one that is taken marked."""
    costs = found.smoothed.clip(max=found.smoothed[0] * 1.25)  # what diverges would hide the rest
    lines = blocks.curve(costs, RATES_WIDTH, RATES_HEIGHT)
    mark = sum(rate <= found.suggestion for rate in found.rates) - 1
    place = mark * len(lines[0]) // len(found.rates)
    console.print(f"rate   {found.suggestion:g}, found by a step at each of {len(found.rates)}")
    console.print(
        f"       cost falls most steeply at {found.steepest:.2g}, is least at {found.lowest:.2g}"
    )
    console.print(*(f"       {line}" for line in lines), sep="\n", markup=False, highlight=False)
    console.print(f"       {' ' * place}▲")


def _size(count: int, counted: str) -> str:
    """Write how much there is as people do.

    Example:
        >>> _size(812, "bytes"), _size(3_400, "bytes"), _size(1_234_567, "bytes")
        ('812 bytes', '3.4 kB', '1.23 MB')
        >>> _size(3_400, "sequences")
        '3,400 sequences'
    """
    if counted != "bytes" or count < 1000:
        return f"{count:,} {counted}"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:,.2f} MB"


def _train(runner: Runner, console: Console) -> None:
    trainer, config = runner.trainer, runner.trainer.config
    torch.set_num_threads(config.usable_threads)
    size = f"{parameter_count(config, trainer.task):,} parameters"
    console.print(f"model  {config.layers} × {config.cell}, {config.hidden_size} units, {size}")
    with Interrupt() as interrupted, TrainingProgress([runner], console) as progress:
        finished = fit([runner], progress, interrupted)
    if not trainer.ranks.leads:
        raise typer.Exit(0 if finished else interrupted.exit_code)
    run = runner.run
    if not finished:
        more = f"gatework train --resume {shlex.quote(str(run.path))}"
        console.print(f"interrupted at step {trainer.steps:,}, all saved; go on with: {more}")
        run.write_report(run_page(run, None))  # to show what it can do takes too long now
        raise typer.Exit(interrupted.exit_code)
    with kept(lambda: f"the run is whole: {run.path}"):
        shown = report_on(runner)
    _show_results(console, runner, shown)


def _show_results(console: Console, runner: Runner, shown: Shown | None) -> None:
    run, trainer = runner.run, runner.trainer
    if shown:
        console.print(f"\n{shown.title.lower()}\n\n{shown.text}\n")
    last = run.validations()[-1]
    console.print(f"held out  {last.cost:.3f} {run.task.unit} ({run.task.meaning})")
    _show_figures(console, last)
    if words := run.about_best():
        console.print(f"best      {words}")
    console.print(f"run       {run.path}")
    console.print(f"report    {run.path / 'report.html'}")
    path = shlex.quote(str(run.path))
    if run.config.tensorboard:
        console.print(f"curves    tensorboard --logdir {path}")
    if shown and shown.more:
        command, *options = map(shlex.quote, shown.more)
        console.print(" ".join([f"more      gatework {command} {path}", *options]))
    if _is_inspectable(trainer):
        console.print(f"inside    gatework inspect {path}")


def _is_inspectable(trainer: Trainer) -> bool:
    """Whether so much is held out that one can look inside."""
    steps = trainer.task.held_out(trainer.source).lengths.sum()
    return bool(steps >= LEAST_HELD_OUT)


def _show_figures(console: Console, record: Record) -> None:
    """What people quote, beside what needs no model; the cost itself stands above."""
    naive = record.naive or {}
    for name, value in (record.figures or {}).items():
        beside = f"  (without a model {naive[name]:.4g})" if name in naive else ""
        console.print(f"          {value:.4g} {name}{beside}")
