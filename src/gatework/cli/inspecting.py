"""`gatework inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from gatework.cli.interrupt import kept
from gatework.cli.terminal import Terminal
from gatework.cli.torch_models import typed_subject
from gatework.files import write_atomically
from gatework.lens import MemoryHorizon
from gatework.reports.inspection import Inspection, check_inspectable
from gatework.reports.inspection import inspect as inspect_subject
from gatework.reports.inspection_page import inspection_page
from gatework.reports.sections import shown_measurements
from gatework.reports.subject import Subject
from gatework.train.run import Run, check_writable, runs_of

__all__ = ["inspect", "inspect_model"]

PAGE = "inspection.html"


def inspect(path: Path, out: Path | None, figures: bool, last: bool) -> None:
    """Measure trained models and write what was found as one page.

    Args:
        path: a run folder, or a folder of runs.
        out: the page's file; None for `inspection.html` in the folder.
        figures: whether to write every measurement beside the page.
        last: measure the models that the runs ended with, not the best ones.
    """
    console = Terminal()
    runs = runs_of(path)
    page = path / PAGE if out is None else out
    torch.set_num_threads(runs[0].config.usable_threads)
    check_writable(page.parent, "name another page with --out FILE")
    subjects = [check_inspectable(run, last=last) for run in runs]  # before one is measured
    for run in runs:
        _name_best(run, console, last)
    _show(subjects, page, figures, console)


def inspect_model(
    text: str,
    weights: Path | None,
    files: Sequence[Path],
    columns: Mapping[str, Any],
    out: Path | None,
    figures: bool,
) -> None:
    """Measure a torch model of a file and write what was found as one page.

    Args:
        text: the file and the function that makes the model.
        weights: its weights; None where the function gives them.
        files: the data.
        columns: which parts the data's columns have.
        out: the page's file; None for `inspection.html` in this folder.
        figures: whether to write every measurement beside the page.
    """
    page = Path(PAGE) if out is None else out
    check_writable(page.parent, "name another page with --out FILE")
    subject = typed_subject(text, weights, files, columns)
    _show([subject], page, figures, Terminal())


def _show(subjects: Sequence[Subject], page: Path, figures: bool, console: Console) -> None:
    """Measure models, write the page, and say the most important in the terminal."""
    with kept(lambda: "nothing was written"):
        found = [_inspect(subject, console) for subject in subjects]
    write_atomically(page, inspection_page(found).encode())
    for one in found:
        console.print(f"\n{one.name:<8} {_headline(one)}")
        tracked = ", ".join(f"{n} {u.held_out:.2f}" for n, u in one.tracking.items())
        console.print(f"         units that follow, r held out: {tracked or 'none'}")
    console.print(f"\npage     {page}")
    if figures:
        with kept(lambda: f"the page is whole: {page}"):
            console.print(f"figures  {_write_figures(found, page.with_suffix(''))}/")


def _headline(one: Inspection) -> str:
    """The cost, where there is one, and how far back is remembered."""
    memory = _memory(one.horizon, one.step)
    if not one.subject.unit:
        return memory
    return f"{one.cost:.3f} {one.subject.unit}, held out\n         {memory}"


def _memory(horizon: MemoryHorizon, step: str) -> str:
    """How far back a model remembers."""
    last = horizon.lags[-1]
    near, far = (
        f"{reach}" if (reach := horizon.reach(share)) <= last else f"more than {last}"
        for share in (0.01, 0.0001)
    )
    return f"influence of a {step} stays above 1 % for {near} {step}s, above 0.01 % for {far}"


def _name_best(run: Run, console: Console, last: bool) -> None:
    """Say that it is the best model that is measured, where that is not the last one."""
    if not last and (best := run.about_best()):
        console.print(f"{run.path.name:<8} the best model, {best} (--last for that one)")


def _inspect(subject: Subject, console: Console) -> Inspection:
    return inspect_subject(subject, lambda what: console.print(f"{subject.name:<8} {what}"))


def _write_figures(found: list[Inspection], folder: Path) -> Path:
    """Every measurement of every model as data, and those that can be drawn as SVG and PNG."""
    for one in found:
        place = folder / one.name
        place.mkdir(parents=True, exist_ok=True)
        for name, measurement in shown_measurements(one).items():
            measurement.save(place / f"{name}.safetensors")
            if measurement.has_drawing:
                measurement.plot().save(place / f"{name}.svg")
                measurement.plot().save(place / f"{name}.png")
    return folder
