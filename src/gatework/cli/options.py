"""What options may look like, and those that several commands have."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "CELL_HELP",
    "FIND",
    "BatchSize",
    "Bidirectional",
    "Device",
    "Dropout",
    "EmbeddingSize",
    "Files",
    "HiddenSize",
    "Last",
    "Layers",
    "Out",
    "Patience",
    "Precision",
    "Predictions",
    "Rate",
    "RateOrFind",
    "RunFolder",
    "SaveEvery",
    "Seed",
    "Steps",
    "TensorBoard",
    "Threads",
    "Time",
    "ToRead",
    "TrainedCell",
    "Window",
    "cells_option",
    "parse_duration",
    "parse_rate",
]

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        typer.BadParameter: it is none, or not above 0.

    Example:
        >>> parse_duration("1.5m")
        90.0
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    try:
        seconds = float(match[1]) * UNITS[match[2]] if match else math.nan
    except (ValueError, KeyError):
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    raise typer.BadParameter(f"{text!r} came; expected a time above 0, such as 90s, 10m or 2h")


FIND = "find"
"""What is typed in place of a learning rate for one that suits model and data."""


def parse_rate(text: str) -> float | str:
    """Return a learning rate, or the word for one that is looked for.

    Raises:
        typer.BadParameter: it is neither.

    Example:
        >>> parse_rate("3e-3"), parse_rate("find")
        (0.003, 'find')
    """
    if text == FIND:
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} came; expected a number such as 0.003, or the word {FIND}"
        ) from None


CELL_HELP = (
    "A cell of the catalogue (gatework cells), one of yours (my_cells.py:latch), "
    "or one with gates held (gru\\[r=1,z=0])."
)


def cells_option(default: str) -> Any:
    """Make the option that names cells.

    Args:
        default: those that are taken where none is named.
    """
    several = "For several, give it several times, or separate them by commas."
    return typer.Option(
        "--cell",
        "--cells",
        metavar="CELL",
        help=f"{CELL_HELP} {several}",
        show_default=default,
    )


Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE",
        help="What to learn from: texts (any bytes will do), tables, arrays, .ts, JSON lines.",
        show_default="the Python standard library's source",
    ),
]
TrainedCell = Annotated[
    str | None, typer.Option("--cell", metavar="CELL", help=CELL_HELP, show_default="lstm")
]
HiddenSize = Annotated[int | None, typer.Option(help="Units per layer.", show_default="192")]
Window = Annotated[
    int | None, typer.Option(help="Steps between two cuts of the gradient.", show_default="64")
]
Layers = Annotated[int | None, typer.Option(help="Recurrent layers.", show_default="1")]
EmbeddingSize = Annotated[
    int | None, typer.Option(help="Numbers that stand for a symbol of a text.", show_default="64")
]
Dropout = Annotated[
    float | None,
    typer.Option(
        help="Share of outputs dropped in training; of a forecast 0.3 unless given.",
        show_default="0.0",
    ),
]
Time = Annotated[
    float | None,
    typer.Option(
        "--time", metavar="TIME", parser=parse_duration, help="Time budget: 90s, 10m, 2h, or 1.5h."
    ),
]
Steps = Annotated[int | None, typer.Option(help="Step budget instead, or as well.")]
Seed = Annotated[int | None, typer.Option(help="Seed of weights and dropout.", show_default="0")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Sequences read side by side; of a forecast 32 unless given.", show_default="16"
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads that share the work.", show_default="as torch has it, at most 4"),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        help="Peak learning rate.",
        show_default="0.01; 0.002 for cells without gates, and of a forecast",
    ),
]
RateOrFind = Annotated[
    Any,
    typer.Option(
        "--lr",
        metavar="RATE",
        parser=parse_rate,
        help="Peak learning rate; find: try many, and take one that suits model and data.",
        show_default="0.01; 0.002 for cells without gates, and of a forecast",
    ),
]
Bidirectional = Annotated[
    bool | None,
    typer.Option(
        "--bidirectional", help="Layers read backward too; not where the next step is predicted."
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(help="End after so many validations without a better one.", show_default="never"),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, or a card: cuda, cuda:1.", show_default="cpu")
]
Precision = Annotated[
    str | None, typer.Option(help="float32, or bfloat16 on a card.", show_default="float32")
]
SaveEvery = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        parser=parse_duration,
        help="Time between two checkpoints.",
        show_default="1m",
    ),
]
TensorBoard = Annotated[
    bool | None,
    typer.Option("--tensorboard", help="Also write events for TensorBoard into the run folder."),
]
Out = Annotated[
    Path | None,
    typer.Option(help="New folder for the run.", show_default="runs/<date>-<time>-<name>"),
]

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
ToRead = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="What to predict of; - for standard input, a JSON a line."),
]
Predictions = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write to a file.", show_default="the terminal"),
]
Last = Annotated[
    bool,
    typer.Option(
        "--last", help="The model that training ended with, not the best on held-out text."
    ),
]
