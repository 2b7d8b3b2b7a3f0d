"""`gatework bench`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gatework.bench import (
    CONTESTANTS,
    KINDS,
    OURS,
    TABLE,
    Limits,
    Line,
    Pace,
    Sample,
    Settings,
    Shape,
    absences,
    as_data,
    compare,
    describe_machine,
    entries,
    load,
    parse_shapes,
    versions,
)
from gatework.cli.asked import check_out
from gatework.cli.figures import console_for_tables, figure
from gatework.errors import InputError
from gatework.files import write_atomically
from gatework.lang import Cell

__all__ = ["bench", "seconds_typed"]

MOST_SECONDS = 3600.0
BUSY = 1.5
"""Load of each core above which figures are said to be doubtful."""


def bench(
    cells: Sequence[Cell],
    shapes: Sequence[str],
    kinds: Mapping[str, bool],
    threads: int | None,
    seconds: float,
    out: Path | None,
    *,
    everything: bool,
) -> None:
    """Measure, show a table and write the figures.

    Args:
        cells: what is run.
        shapes: as they were typed.
        kinds: whether each is wanted; none for inference and training.
        threads: of everyone; None for torch's own number.
        seconds: time for each line.
        out: file for the figures, or None.
        everything: measure the whole table of shapes.
    """
    settings = Settings(
        cells=tuple(cells),
        kinds=tuple(k for k in KINDS if kinds[k]) or ("inference", "training"),
        shapes=_shapes(shapes, everything),
        threads=_threads(threads),
        pace=Pace(total=seconds_typed(seconds)),
    )
    check_out("--json", out)
    console = console_for_tables()
    before, limits = load(), Limits(settings.threads)
    _announce(console, settings, limits, before)
    lines: list[Line] = []
    try:
        _measure(console, settings, limits, lines)
    finally:  # also what was measured before Ctrl-C
        _show(console, lines)
        _tell_absences(console)
        if out is not None:
            data = as_data(settings, limits, lines, (before, load()))
            write_atomically(out, json.dumps(data, indent=1).encode())
            console.print(f"\nfigures  {out}")
    if any(line.error for line in lines):
        raise typer.Exit(1)


# ---- what was typed ------------------------------------------------------------------------------


def _shapes(texts: Sequence[str], everything: bool) -> tuple[Shape, ...] | None:
    if everything and texts:
        raise InputError("--all and --shapes", "one of them", "leave one out")
    if everything:
        return TABLE
    return parse_shapes(texts) or None


def _threads(count: int | None) -> int:
    count = torch.get_num_threads() if count is None else count
    most = os.cpu_count() or 1
    if 1 <= count <= most:
        return count
    raise InputError(
        f"--threads {count}",
        f"from 1 to {most}, the cores of this machine",
        "give fewer: threads without a core of their own only wait",
    )


def seconds_typed(seconds: float) -> float:
    """The time for a line.

    Raises:
        InputError: it is not above 0, or too long.
    """
    if 0 < seconds <= MOST_SECONDS:  # NaN is neither
        return seconds
    raise InputError(
        f"--seconds {seconds:g}", f"above 0, at most {MOST_SECONDS:g}", "write --seconds 1"
    )


# ---- what is shown -------------------------------------------------------------------------------


def _announce(console: Console, settings: Settings, limits: Limits, before: float | None) -> None:
    machine = describe_machine()
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, {machine['vector_bits']}-bit vectors"
    )
    console.print(
        f"float32, {_plural(settings.threads, 'thread')}; "
        f"multiply-adds at most {limits.fma:,.0f} GFLOP/s"
    )
    console.print(", ".join(f"{name} {version}" for name, version in versions().items()))
    cores = machine["cores"] or 1
    if before is not None and before > BUSY * cores:
        console.print(
            f"the machine is busy (load {before:.1f} on {_plural(cores, 'core')}): "
            "figures are doubtful"
        )
    console.print()


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _measure(console: Console, settings: Settings, limits: Limits, lines: list[Line]) -> None:
    """Add line after line; a terminal sees the table grow, elsewhere each line is announced."""
    planned = entries(settings)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for line in compare(settings, limits):
            lines.append(line)
            if console.is_terminal:
                live.update(_table(lines), refresh=True)
            else:
                console.print(f"{len(lines)} of {len(planned)}  {line.entry}")


def _show(console: Console, lines: Sequence[Line]) -> None:
    if not console.is_terminal:
        console.print()
        console.print(_table(lines))
    for line in lines:
        if line.error:
            console.print(f"not timed: {line.entry}: {line.error}")
    console.print(
        "\nmilliseconds of a call: median, quartiles of ours in brackets; ×: how many times ours\n"
        "share: of the FMA peak; with B = 1 of the cache bandwidth"
    )


def _table(lines: Sequence[Line]) -> Table:
    """The lines so far, with a column for each contestant that takes part in one of them."""
    others = [c.name for c in CONTESTANTS if any(c.name in line.samples for line in lines)][1:]
    table = Table(box=None, pad_edge=False)
    for title in ("cell", "B,T,I,H", "kind"):
        table.add_column(title, no_wrap=True)
    for title in (OURS.name, *others, "share"):  # a narrow terminal folds them
        table.add_column(title, justify="right")
    for line in lines:
        table.add_row(
            line.entry.cell.name,
            str(line.entry.shape),
            line.entry.kind,
            "wrong result" if line.error else _ours(line.samples[OURS.name]),
            *(_theirs(line, name) for name in others),
            "" if line.share is None else f"{line.share:.0%}",
        )
    return table


def _ours(sample: Sample) -> str:
    lower, upper = figure(sample.lower), figure(sample.upper)
    return f"{figure(sample.median)} [{lower}, {upper}]"


def _theirs(line: Line, name: str) -> str:
    ratio = line.ratio(name)
    if ratio is None:
        return "–"
    return f"{figure(line.samples[name].median)} {figure(ratio)}×"


def _tell_absences(console: Console) -> None:
    for name, remedy in absences().items():
        console.print(f"not installed: {name} ({remedy})")
