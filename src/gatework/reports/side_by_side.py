"""Cells trained side by side and measured: what `gatework compare` and `gatework.compare` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gatework.errors import InputError
from gatework.files import write_atomically
from gatework.lang import Cell
from gatework.reports.comparison import (
    Contender,
    check_cells,
    matched_configs,
    measure,
    save_comparison,
)
from gatework.reports.comparison_page import comparison_page, summary
from gatework.reports.held_out import check_held_out
from gatework.reports.page import table
from gatework.reports.trained import Texts, files_of
from gatework.tasks import task_class
from gatework.train import Run, RunConfig, Runner, Trainer, fit
from gatework.train.run import new_folder
from gatework.train.threads import with_threads

__all__ = ["PARAMETERS", "Comparison", "begin", "compare", "conclude"]

PARAMETERS = 150_000
DEFAULT_WINDOW = 128
"""Longer than for training alone: what is compared is memory."""
DEFAULT_SECONDS = 180.0
"""Time budget of all cells together."""


@dataclass(frozen=True)
class Comparison:
    """Cells that were trained side by side, and what was measured of them.

    Printed, it is a table; a notebook shows it by itself.

    Attributes:
        contenders: Each cell's part: its settings, learning curve, memory horizon and gates.
        folder: Where everything is: page and figures, and a run folder for each cell.
    """

    contenders: tuple[Contender, ...]
    folder: Path

    @property
    def page(self) -> Path:
        """The page with all that was found."""
        return self.folder / "comparison.html"

    def table(self) -> list[dict[str, str]]:
        """What the page begins with, a row for each cell; `pandas.DataFrame` takes it."""
        header, rows = summary(self.contenders)
        return [dict(zip(header, row, strict=True)) for row in rows]

    def __str__(self) -> str:
        header, rows = summary(self.contenders)
        columns = list(zip(header, *rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        lines = ("  ".join(map(str.rjust, row, widths)) for row in (header, *rows))
        return "\n".join([*lines, f"page: {self.page}"])

    def _repr_html_(self) -> str:
        return table(*summary(self.contenders))


def begin(
    cells: Sequence[Cell], parameters: int, settings: Mapping[str, Any], out: Path | None
) -> tuple[list[Runner], Path]:
    """Make the models and their run folders, in a new folder.

    Args:
        cells: What is compared.
        parameters: Size of each model.
        settings: Fields of `RunConfig` that all have.
        out: The folder; None for a new one under runs/.

    Raises:
        InputError: Something of it cannot be.
    """
    base = RunConfig.of(**{"window": DEFAULT_WINDOW, **settings})
    if base.seconds is None and base.steps is None:
        base = base.model_copy(update={"seconds": DEFAULT_SECONDS})
    configs = check_cells(cells, base)
    task, source = task_class(base.task.kind).load(base.task, base.files)
    check_held_out(task.held_out(source), source.name)
    trainers = [
        Trainer(config, task, source) for config in matched_configs(configs, parameters, task)
    ]
    folder = new_folder("compare", out)
    return [
        Runner(trainer, Run.create(trainer, folder / trainer.config.cell)) for trainer in trainers
    ], folder


def conclude(runners: Sequence[Runner], folder: Path) -> Comparison:
    """Measure trained models, and write figures and page into their folder."""
    found = Comparison(tuple(map(measure, runners)), folder)
    save_comparison(found.contenders, folder / "comparison.json")
    trainer = runners[0].trainer
    page = comparison_page(found.contenders, trainer.task, trainer.source)
    write_atomically(found.page, page.encode())
    return found


def compare(
    cells: Sequence[Cell],
    text: Texts = None,
    *,
    parameters: int = PARAMETERS,
    out: str | Path | None = None,
    **settings: Any,
) -> Comparison:
    """Train cells side by side on the same data and measure how far back each remembers.

    As the command `gatework compare`, whose page and folders it leaves. All have equally many
    parameters and learn from the same; a text unless the settings say else.

    Args:
        cells: What is compared: cells of your own and of `gatework.cells`.
        text: The file, or the files, to learn from; without it, Python's standard library.
        parameters: Learned numbers in each model; hidden sizes follow.
        out: New folder for page and runs; without it, one under `runs/`.
        settings: Any other of `gatework.train.RunConfig`, such as `seconds=600`, the time of all
            together, `steps=2000`, `layers=2` or `task="forecast"`, and any of the task's own.

    Raises:
        InputError: A ValueError that says what cannot be used, and how to mend it.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("notes.txt").write_text("What is written twice is learned once. " * 100)
        >>> vanilla = gw.cells.gru.pin(r=1, z=0)
        >>> found = gw.compare(
        ...     [vanilla, gw.cells.gru], "notes.txt", parameters=6_000, embedding_size=4, steps=4
        ... )
        >>> [row["cell"] for row in found.table()]
        ['gru[r=1,z=0]', 'gru']
        >>> found.page.name
        'comparison.html'
    """
    if isinstance(cells, Cell):
        raise InputError(f"{cells} alone", "cells in a list", "give [cell, gatework.cells.lstm]")
    given = {**settings, "files": files_of(text)}
    with torch.random.fork_rng(devices=[]):
        runners, folder = begin(tuple(cells), parameters, given, None if out is None else Path(out))
        with with_threads(runners[0].run.config.usable_threads):
            fit(runners, lambda *_: None)
            return conclude(runners, folder)
