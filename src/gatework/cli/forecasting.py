"""`gatework forecast`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gatework.cli.asked import check_kind
from gatework.cli.piped import with_piped
from gatework.cli.terminal import Terminal
from gatework.tasks.forecasting.ahead import forecast_ahead
from gatework.tasks.forecasting.chart import chart
from gatework.tasks.forecasting.drawing import draw_forecasts
from gatework.tasks.forecasting.forecasts import Ahead
from gatework.tasks.forecasting.task import ForecastTask
from gatework.train import Run

__all__ = ["forecast"]

MOST_SHOWN = 3
"""Series that are drawn in a terminal."""
WIDEST = 100


def forecast(
    path: Path, files: Sequence[Path], out: Path | None, plot: Path | None, *, last: bool
) -> None:
    """Forecast what comes after series: a table, and a drawing in a terminal.

    Args:
        path: the run folder.
        files: the series; those of the run where none are named.
        out: where the table is written; in a pipe, to standard output if this is None.
        plot: where the drawing is written.
        last: forecast with the model that the run ended with, not the best one.
    """
    run = Run.open(path)
    check_kind(run.manifest, path, "forecast")
    assert isinstance(run.task, ForecastTask)
    torch.set_num_threads(run.config.usable_threads)
    with with_piped(files or run.config.files) as named:
        ahead = forecast_ahead(run.task, run.load_model(last=last), named)
    told = Terminal(stderr=True)
    for note in ahead.notes:
        told.print(f"note   {note}")
    _write(ahead, out)
    if plot is not None:
        draw_forecasts(ahead).save(plot)
    for what, where in (("table", out), ("plot", plot)):
        if where is not None:
            told.print(f"{what:<6} {where}")


def is_terminal() -> bool:
    """Whether somebody looks at what is printed."""
    return sys.stdout.isatty()


def _write(ahead: Ahead, out: Path | None) -> None:
    """Write the table where it is wanted; in a terminal, draw."""
    if out is not None:
        with out.open("w", encoding="utf-8", newline="") as file:
            ahead.write(file)
    if is_terminal():
        _show(ahead, Terminal())
    elif out is None:
        ahead.write(sys.stdout)


def _show(ahead: Ahead, console: Terminal) -> None:
    width = min(console.width, WIDEST)
    for number in range(min(len(ahead), MOST_SHOWN)):
        for target, name in enumerate(ahead.targets):
            console.print(f"{ahead.name(number)}  {name}")
            console.print(chart(ahead, number, target, width))
    if len(ahead) > MOST_SHOWN:
        console.print(
            f"and {len(ahead) - MOST_SHOWN:,} more series; all in a table with --out FILE"
        )
