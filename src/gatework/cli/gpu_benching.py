"""`gatework bench --device`: layers on a card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.table import Table

from gatework.bench import KINDS, OURS, Pace, Shape
from gatework.bench.gpu import (
    CONTESTANTS,
    PRECISIONS,
    SHAPES,
    Line,
    Precision,
    Settings,
    Way,
    as_data,
    card,
    compare,
    entries,
    ratios_table,
)
from gatework.cli.asked import check_out
from gatework.cli.benching import seconds_typed
from gatework.cli.figures import console_for_tables, figure
from gatework.errors import InputError, suggest
from gatework.files import write_atomically
from gatework.lang import Cell

__all__ = ["bench", "card_typed", "precisions_typed", "show"]

SECONDS = 270.0
"""After which no further line of the six shapes is begun."""
WAY_TITLES: dict[Way, str] = {
    "graph": "as replays of CUDA graphs",
    "eager": "called from Python",
}


def bench(
    cells: Sequence[Cell],
    shapes: Sequence[Shape],
    kinds: Mapping[str, bool],
    device: str,
    precisions: str,
    seconds: float,
    out: Path | None,
) -> None:
    """Measure, show tables and write the figures.

    Args:
        cells: what is run.
        shapes: the sizes; none for those of the table.
        kinds: whether each is wanted; none for inference and training.
        device: the card, as it was typed.
        precisions: in what numbers, as they were typed; "" for all.
        seconds: time for each line and way.
        out: file for the figures, or None.
    """
    settings = Settings(
        device=card_typed(device),
        cells=tuple(cells),
        kinds=tuple(k for k in KINDS if kinds[k]) or ("inference", "training"),
        precisions=precisions_typed(precisions),
        shapes=tuple(shapes) or SHAPES,
        pace=Pace(total=seconds_typed(seconds), turn=0.01, rest=0.001),
        seconds=None if shapes else SECONDS,
    )
    check_out("--json", out)
    console = console_for_tables()
    console.print(", ".join(f"{value}" for value in card(settings.device).values()) + "\n")
    lines: list[Line] = []
    try:
        planned = len(entries(settings))
        for line in compare(settings):
            lines.append(line)
            console.print(f"{len(lines)} of {planned}  {line.entry}")
        if len(lines) < planned:
            console.print(f"no time for {planned - len(lines)} lines: choose some by --shapes")
    finally:  # also what was measured before Ctrl-C
        show(console, lines)
        if out is not None:
            write_atomically(out, json.dumps(as_data(settings, lines), indent=1).encode())
            console.print(f"\nfigures  {out}")
    if any(OURS.name in line.wrong for line in lines):
        raise typer.Exit(1)


# ---- what was typed ------------------------------------------------------------------------------


def card_typed(text: str) -> torch.device:
    """The card of --device.

    Raises:
        InputError: it is none, or torch cannot use one.
    """
    try:
        device = torch.device(text)
    except RuntimeError:
        raise InputError(f"--device {text}", "cpu, cuda, or cuda:1", "check the spelling") from None
    if device.type != "cuda":
        raise InputError(f"--device {text}", "cpu, cuda, or cuda:1", "leave it out for the CPU")
    if not torch.cuda.is_available():
        raise InputError(
            f"--device {text}, but {_without_card()}",
            "a card with CUDA that torch can use",
            "run it on a machine that has one, or leave --device out to measure the CPU",
        )
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise InputError(
            f"--device {text}, but there are {torch.cuda.device_count()} cards",
            "the number of a card, from 0",
            "look at nvidia-smi",
        )
    return device


def _without_card() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    return "torch finds no card"


def precisions_typed(text: str) -> tuple[Precision, ...]:
    """The precisions of --precision, separated by commas.

    Raises:
        InputError: one is not known.
    """
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in PRECISIONS:
            hint = suggest(name, PRECISIONS)
            raise InputError(
                f"--precision {text}", ", ".join(PRECISIONS), f"{hint}separate them by commas"
            )
    return tuple(PRECISIONS[name] for name in dict.fromkeys(names or PRECISIONS))


# ---- what is shown -------------------------------------------------------------------------------


def show(console: Console, lines: Sequence[Line]) -> None:
    """The times of every line, then how many times ours torch.nn takes."""
    for way, title in WAY_TITLES.items():
        if any(way in line.samples and line.samples[way] for line in lines):
            console.print(f"\n{title}, microseconds of a step; ×: how many times ours\n")
            console.print(_table(lines, way))
            console.print(f"\ntorch.nn's time over ours, forward / training, {title}\n")
            console.print(ratios_table(lines, way), highlight=False, soft_wrap=True)
    for line in lines:
        for name, wrong in line.wrong.items():
            console.print(f"not timed: {line.entry}: {name}: {wrong}")


def _table(lines: Sequence[Line], way: Way) -> Table:
    """The lines, with a column for each contestant that takes part in one of them."""
    names = [c.name for c in CONTESTANTS if any(c.name in x.samples.get(way, {}) for x in lines)]
    table = Table(box=None, pad_edge=False)
    for title in ("cell", "B,T,I,H", "numbers", "kind"):
        table.add_column(title, no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("error ours; torch.nn", justify="right")
    for line in lines:
        entry = line.entry
        table.add_row(
            entry.cell.name,
            str(entry.shape),
            entry.precision.name,
            entry.kind,
            *(_figures(line, way, name) for name in names),
            "; ".join(f"{line.errors[n]:.1e}" for n in names[:2] if n in line.errors),
        )
    return table


def _figures(line: Line, way: Way, name: str) -> str:
    """Microseconds of a step, and of the others how many times ours that is."""
    own, ratio = line.microseconds(way, name), line.ratio(way, name)
    if own is None:
        return "wrong result" if name in line.wrong else "–"
    return figure(own) if name == OURS.name or ratio is None else f"{figure(own)} {figure(ratio)}×"
