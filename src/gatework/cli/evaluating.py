"""`gatework evaluate`."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.table import Table

from gatework.cli.terminal import Terminal
from gatework.errors import InputError
from gatework.tasks.task import Source
from gatework.train import Run

__all__ = ["evaluate"]


def evaluate(path: Path, files: list[Path], *, last: bool) -> None:
    """Measure the model of a run, and print its figures beside those of what needs no model.

    Args:
        path: the run folder.
        files: to measure on; without any, what the run has held out.
        last: measure the model that the run ended with, not the best one.
    """
    run = Run.open(path)
    model = run.load_model(last=last)
    torch.set_num_threads(run.config.usable_threads)
    source = _source(run, files)
    found = run.task.evaluate(model, source)
    if found.cost != found.cost:
        raise InputError(
            f"nothing to measure on in {source.name}",
            f"{run.task.counted} whose truth is known",
            "name a file that has some",
        )
    console = Terminal(wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{source.sizes[1]:,} {run.task.counted} of {source.name}")
    table.add_column("this model", justify="right")
    table.add_column("without a model", justify="right")
    for name, value in {run.task.unit: found.cost, **found.figures}.items():
        naive = found.naive.get(name)
        table.add_row(name, f"{value:.4g}", "" if naive is None else f"{naive:.4g}")
    console.print(table)


def _source(run: Run, files: list[Path]) -> Source:
    if not files:
        return run.load_source()
    task, config = run.task, run.config
    settings = config.task
    if settings.kind == "forecast":  # the last part of each series, after what tells its scale
        return type(task).load(settings, tuple(files), task)[1]
    judged = settings.model_copy(update={"held_out": tuple(files)})
    # what symbols cost without a model is counted in what was learned from; labels need it not
    learned = (settings.kind == "text" and config.files) or tuple(files)
    return type(task).load(judged, learned, task)[1]
