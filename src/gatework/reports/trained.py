"""A cell trained on data: what `gatework train` does, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gatework.errors import InputError
from gatework.lang import Cell
from gatework.reports.run_page import run_page
from gatework.tasks import Shown, task_class
from gatework.train import Run, RunConfig, Runner, Trainer, cell_settings, fit
from gatework.train.finder import RateCurve, try_rates
from gatework.train.threads import with_threads

__all__ = ["Texts", "files_of", "find_learning_rate", "report_on", "train_cell"]

Texts = str | Path | Sequence[str | Path] | None
"""The files to learn from."""


def report_on(runner: Runner) -> Shown | None:
    """Let a trained model show what it can do, and make the page of its run."""
    shown = runner.trainer.task.show(runner.run.load_model(), runner.trainer.source)
    runner.run.write_report(run_page(runner.run, shown))
    return shown


def files_of(text: Texts) -> tuple[Path, ...]:
    """Return the files that were given: one, several, or none."""
    given = () if text is None else (text,) if isinstance(text, str | Path) else tuple(text)
    for one in given:
        if not isinstance(one, str | Path) or "\n" in str(one):
            raise InputError(
                f"a text of the type {type(one).__name__}"
                + " with several lines" * isinstance(one, str),
                "the name of a file to learn from, or of several",
                "write the text into a file first",
            )
    return tuple(map(Path, given))


def train_cell(
    cell: Cell, text: Texts = None, *, out: str | Path | None = None, **settings: Any
) -> Run:
    """Train a model whose recurrent layers run a cell; of texts unless the settings say else.

    As the command `gatework train`, whose folder it leaves: `gatework inspect` and `gatework
    studio` look into it.

    Args:
        cell: A cell of your own, or one of `gatework.cells`.
        text: The file, or the files, to learn from; without it, Python's standard library.
        out: New folder for the run; without it, one under `runs/`.
        settings: Any other of `gatework.train.RunConfig`, such as `seconds=600`, `steps=2000`,
            `hidden_size=128`, `layers=2` or `task="forecast"`, and any of the task's own.

    Returns:
        The run: its model by `load_model()`, its measurements by `records()`, its folder `path`.

    Raises:
        InputError: A ValueError that says what cannot be used, and how to mend it.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("notes.txt").write_text("What is written twice is learned once. " * 100)
        >>> run = gw.train_cell(gw.cells.gru, "notes.txt", hidden_size=16, steps=4)
        >>> run.config.cell, run.best().step
        ('gru', 4)
    """
    given = {**settings, **cell_settings(cell), "files": files_of(text)}
    config = RunConfig.of(**given)
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer.of(config)
        run = Run.create(trainer, None if out is None else Path(out))
        runner = Runner(trainer, run)
        with with_threads(config.usable_threads):
            fit([runner], lambda *_: None)
            report_on(runner)
    return run


def find_learning_rate(cell: Cell, text: Texts = None, **settings: Any) -> RateCurve:
    """Find a learning rate that suits a model and its data, as `gatework train --lr find` does.

    A model of its own takes up to a hundred steps, each a little larger, and is thrown away.

    Args:
        cell: A cell of your own, or one of `gatework.cells`.
        text: The file, or the files, to learn from; without it, Python's standard library.
        settings: As `train_cell` takes them.

    Returns:
        What each step cost; its `suggestion` is the learning rate.

    Raises:
        InputError: A ValueError that says what cannot be used, and how to mend it.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("notes.txt").write_text("What is written twice is learned once. " * 100)
        >>> found = gw.find_learning_rate(gw.cells.gru, "notes.txt", hidden_size=16)
        >>> run = gw.train_cell(
        ...     gw.cells.gru, "notes.txt", hidden_size=16, steps=4, learning_rate=found.suggestion
        ... )
        >>> 1e-4 < run.config.learning_rate < 1
        True
    """
    config = RunConfig.of(**{**settings, **cell_settings(cell), "files": files_of(text)})
    return try_rates(config, *task_class(config.task.kind).load(config.task, config.files))
