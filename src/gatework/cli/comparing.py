"""`gatework compare`."""

from __future__ import annotations

import math
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
from gatework.data import Corpus, load_corpus
from gatework.files import write_atomically
from gatework.lens import MemoryHorizon
from gatework.reports.comparison import (
    REACH_SHARES,
    Contender,
    matched_configs,
    measure,
    save_comparison,
)
from gatework.reports.comparison_page import comparison_page, reach_text
from gatework.reports.held_out import FAR_LAG, check_held_out
from gatework.train import Run, RunConfig, Runner, Trainer, fit
from gatework.train.run import new_folder

__all__ = ["compare"]

DEFAULT_WINDOW = 128
"""Longer than for training alone: what is compared is memory."""
DEFAULT_SECONDS = 180.0
"""Time budget of all cells together."""
BARS, LOWEST = " ▁▂▃▄▅▆▇█", 1e-6
"""Heights of a small curve, and the influence at which it touches the ground."""
CURVE_WIDTH = 64


def compare(cells: str, parameters: int, settings: Mapping[str, Any], out: Path | None) -> None:
    """Train cells side by side and show what each remembers.

    Args:
        cells: names, separated by commas.
        parameters: size of each model.
        settings: fields of `RunConfig`; None for those that the user did not give.
        out: folder for the page and the runs; None for a new one under runs/.
    """
    base = RunConfig.of(**{"window": DEFAULT_WINDOW, **given(settings)})
    if base.seconds is None and base.steps is None:
        base = base.model_copy(update={"seconds": DEFAULT_SECONDS})
    names = [name.strip() for name in cells.split(",") if name.strip()]
    configs = matched_configs(names, parameters, base)
    corpus = load_corpus(base.files)
    check_held_out(corpus)
    trainers = [Trainer(config, corpus) for config in configs]
    folder = new_folder("compare", out)
    runners = [
        Runner(trainer, Run.create(trainer.config, corpus, folder / trainer.config.cell))
        for trainer in trainers
    ]
    _compare(runners, corpus, folder)


def _compare(runners: Sequence[Runner], corpus: Corpus, folder: Path) -> None:
    console = Terminal()
    torch.set_num_threads(runners[0].run.config.usable_threads)
    announce(console, corpus)
    with Interrupt() as interrupted, TrainingProgress(runners, console) as progress:
        finished = fit(runners, progress, interrupted)
    runs = f"the runs are saved; measure them with: gatework inspect {folder}"
    if not finished:
        console.print(f"interrupted; {runs}")
        raise typer.Exit(interrupted.exit_code)
    with kept(lambda: runs):
        contenders = [measure(runner) for runner in runners]
        save_comparison(contenders, folder / "comparison.json")
        path = folder / "comparison.html"
        write_atomically(path, comparison_page(contenders, corpus).encode())
    _show_results(console, contenders)
    console.print(f"\npage  {path}")


def _show_results(console: Console, contenders: Sequence[Contender]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("cell")
    above = [f"above {100 * share:g} %" for share in REACH_SHARES]
    for title in ("units", "bits per byte", *above, f"left at {FAR_LAG}"):
        table.add_column(title, justify="right", no_wrap=True)
    for contender in contenders:
        table.add_row(
            contender.config.cell,
            f"{contender.config.hidden_size:,}",
            f"{contender.bits_per_byte:.3f}",
            *(reach_text(contender, share) for share in REACH_SHARES),
            f"{contender.far_influence:.0e}",
        )
    last_lag = contenders[0].horizon.lags[-1]
    console.print(
        "\nfor how many bytes back influence stays above a share of that of the newest byte"
    )
    console.print(table)
    console.print(f"\ninfluence from 0 to {last_lag} bytes back, logarithmic, 1 to {LOWEST:g}")
    for contender in contenders:
        console.print(f"{contender.config.cell:<8} {_small_curve(contender.horizon)}")


def _small_curve(horizon: MemoryHorizon) -> str:
    """Draw influence against lag on a logarithmic scale in one line of text."""
    mean = horizon.mean()
    at = [round(i * (len(mean) - 1) / (CURVE_WIDTH - 1)) for i in range(CURVE_WIDTH)]
    return "".join(_bar(mean[lag]) for lag in at)


def _bar(influence: float) -> str:
    share = 1 - math.log(max(influence, LOWEST)) / math.log(LOWEST)
    return BARS[min(len(BARS) - 1, round(share * (len(BARS) - 1)))]
