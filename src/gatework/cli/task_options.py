"""Options that say what is learned and from which columns; every command that trains has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

__all__ = ["parse_numbers", "takes_column_options", "takes_task_options"]

DATA, TASK = "What it is given", "What it learns"


def parse_numbers(text: str) -> tuple[float, ...]:
    """Return numbers divided by commas.

    Raises:
        typer.BadParameter: one is none.

    Example:
        >>> parse_numbers("0.1,0.5,0.9")
        (0.1, 0.5, 0.9)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} came; expected numbers divided by commas") from None


def _names(help: str, panel: str = DATA) -> Any:
    return typer.Option(metavar="COLUMN,…", help=help, rich_help_panel=panel, show_default=False)


def _option(help: str, panel: str = TASK, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, show_default=False, **more)


OPTIONS: dict[str, Any] = {
    "task": Annotated[
        str | None,
        _option(
            "text, forecast, classify, regress or tag; unless given, what the file looks like."
        ),
    ],
    "target": Annotated[list[str] | None, _names("What is predicted: y, unless given.")],
    "id": Annotated[
        str | None, _option("Column that tells sequences apart: unique_id, unless given.", DATA)
    ],
    "time_column": Annotated[
        str | None, _option("Column with the time of each row: ds, unless given.", DATA)
    ],
    "inputs": Annotated[list[str] | None, _names("Columns that are read: all others.")],
    "future": Annotated[list[str] | None, _names("Of a forecast: columns known ahead.")],
    "static": Annotated[list[str] | None, _names("Columns that hold for a whole sequence.")],
    "ignore": Annotated[list[str] | None, _names("Columns that are left out.")],
    "steps_first": Annotated[
        bool | None,
        _option("Of arrays: [cases, steps, channels], not [cases, channels, steps].", DATA),
    ],
    "held_out": Annotated[
        list[Path] | None,
        _option("Files to judge by, in place of a part of FILE.", DATA, metavar="FILE"),
    ],
    "held_out_share": Annotated[
        float | None, _option("Share that is held out: 0.1, unless given.", DATA)
    ],
    "held_out_steps": Annotated[
        int | None, _option("Of a forecast: last steps that are held out.", DATA)
    ],
    "gaps": Annotated[bool | None, _option("Read the time since the row before.", DATA)],
    "symbols": Annotated[str | None, _option("Of a text: bytes (unless given) or characters.")],
    "horizon": Annotated[int | None, _option("Of a forecast: steps ahead; 24, unless given.")],
    "context": Annotated[
        int | None, _option("Of a forecast: steps it is made from; the longest season.")
    ],
    "season": Annotated[
        Any,
        _option(
            "Of a forecast: steps after which things come again, such as 24,168; found from dates.",
            parser=parse_numbers,
            metavar="N,…",
        ),
    ],
    "quantiles": Annotated[
        Any,
        _option("Of a forecast: 0.1,0.5,0.9, unless given.", parser=parse_numbers, metavar="Q,…"),
    ],
    "pool": Annotated[
        str | None,
        _option("Of a sequence: last, mean (unless given) or max of the layers' outputs."),
    ],
    "balanced": Annotated[
        bool | None, _option("Of classes: rare ones weigh as much as common ones.")
    ],
    "noise": Annotated[
        float | None, _option("Of labels: deviation of noise added to scaled inputs.")
    ],
}
"""Each option's name as a setting of a task, but for `time_column`, which is its `time`."""
COLUMNS = ("inputs", "ignore", "id", "time_column", "steps_first")
"""Those that say which columns of a file are read, and how."""
LISTS = ("target", "inputs", "future", "static", "ignore")


def takes_task_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all these options; it gets those that were given as `asked`, by setting."""
    return _taking(command, OPTIONS)


def takes_column_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command those that say which columns are read; it gets them likewise."""
    return _taking(command, {name: OPTIONS[name] for name in COLUMNS})


def _taking(command: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """A command that also takes some options."""
    own, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
    kept = [
        p.replace(annotation=hints[name]) for name, p in own.parameters.items() if name != "asked"
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]

    @wraps(command)
    def called(**given: Any) -> None:
        asked = settings_asked({name: given.pop(name) for name in options})
        command(**given, asked=asked)

    called.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in (*kept, *added)}
    return called


def settings_asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that were given as settings of a task.

    Example:
        >>> settings_asked({"target": ["a,b"], "time_column": "when", "season": (24.0,)})
        {'target': ('a', 'b'), 'season': (24,), 'time': 'when'}
    """
    settings = {name: value for name, value in given.items() if value is not None}
    for name in LISTS:
        if name in settings:
            settings[name] = tuple(
                part for text in settings[name] for part in text.split(",") if part
            )
    if "time_column" in settings:
        settings["time"] = settings.pop("time_column")
    if "season" in settings:
        settings["season"] = tuple(int(n) if n == int(n) else n for n in settings["season"])
    return settings
