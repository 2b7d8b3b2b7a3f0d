"""Figures in tables of measurements."""

from __future__ import annotations

import math

from gatework.cli.terminal import Terminal

__all__ = ["console_for_tables", "figure"]

FILE_WIDTH = 200


def console_for_tables() -> Terminal:
    """A terminal has its width; in a file nothing is cut off."""
    console = Terminal()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


def figure(number: float) -> str:
    """Three significant digits, without an exponent.

    Example:
        >>> figure(1234.5), figure(0.01234)
        ('1,234', '0.0123')
    """
    digits = 2 - math.floor(math.log10(number)) if number > 0 else 0
    return f"{number:,.{min(max(digits, 0), 5)}f}"
