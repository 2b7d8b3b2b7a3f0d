"""`gatework compare`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from gatework.cli.asked import given
from gatework.cli.interrupt import Interrupt, kept
from gatework.cli.progress import TrainingProgress
from gatework.cli.terminal import Terminal
from gatework.cli.training import announce
from gatework.lang import Cell
from gatework.lens import MemoryHorizon
from gatework.reports.comparison_page import summary
from gatework.reports.side_by_side import Comparison, begin, conclude
from gatework.train import fit

__all__ = ["compare"]

BARS, LOWEST = " ▁▂▃▄▅▆▇█", 1e-6
"""Heights of a small curve, and the influence at which it touches the ground."""
CURVE_WIDTH = 64


def compare(
    cells: Sequence[Cell], parameters: int, settings: Mapping[str, Any], out: Path | None
) -> None:
    """Train cells side by side and show what each remembers.

    Args:
        cells: what is compared.
        parameters: size of each model.
        settings: fields of `RunConfig`; None for those that the user did not give.
        out: folder for the page and the runs; None for a new one under runs/.
    """
    runners, folder = begin(cells, parameters, given(settings), out)
    console = Terminal()
    torch.set_num_threads(runners[0].run.config.usable_threads)
    announce(console, runners[0].trainer)
    with Interrupt() as interrupted, TrainingProgress(runners, console) as progress:
        finished = fit(runners, progress, interrupted)
    runs = f"the runs are saved; measure them with: gatework inspect {shlex.quote(str(folder))}"
    if not finished:
        console.print(f"interrupted; {runs}")
        raise typer.Exit(interrupted.exit_code)
    with kept(lambda: runs):
        found = conclude(runners, folder)
    _show_results(console, found)
    console.print(f"\npage  {found.page}")


def _show_results(console: Console, found: Comparison) -> None:
    table = Table(box=None, pad_edge=False)
    (cell, units, _, *titles), rows = summary(found.contenders)
    table.add_column(cell, overflow="fold")
    for title in (units, *titles):
        table.add_column(title, justify="right", no_wrap=True)
    for cell, units, _, *figures in rows:
        table.add_row(cell, units, *figures)
    last_lag = found.contenders[0].horizon.lags[-1]
    console.print(
        "\nfor how many steps back influence stays above a share of that of the newest step"
    )
    console.print(table)
    if naive := found.contenders[0].naive:
        told = ", ".join(f"{value:.4g} {name}" for name, value in naive.items())
        console.print(f"\nwithout a model, held out: {told}")
    console.print(f"\ninfluence from 0 to {last_lag} steps back, logarithmic, 1 to {LOWEST:g}")
    width = max(len(contender.config.cell) for contender in found.contenders)
    for contender in found.contenders:
        console.print(f"{contender.config.cell:<{width}}  {_small_curve(contender.horizon)}")


def _small_curve(horizon: MemoryHorizon) -> str:
    """Draw influence against lag on a logarithmic scale in one line of text."""
    mean = horizon.mean()
    at = [round(i * (len(mean) - 1) / (CURVE_WIDTH - 1)) for i in range(CURVE_WIDTH)]
    return "".join(_bar(mean[lag]) for lag in at)


def _bar(influence: float) -> str:
    share = 1 - math.log(max(influence, LOWEST)) / math.log(LOWEST)
    return BARS[min(len(BARS) - 1, round(share * (len(BARS) - 1)))]
