"""What options may look like."""

from __future__ import annotations

import math
import re

import typer

__all__ = ["parse_duration"]

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
