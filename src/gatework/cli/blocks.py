"""Curves and bars of letters, for a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bar", "curve", "sparkline"]

EIGHTHS = " ▁▂▃▄▅▆▇█"
LEFT = " ▏▎▍▌▋▊▉█"
HALVES = " ▀▄█"
"""Neither half of a letter, the upper, the lower, both."""


def sparkline(values: NDArray[Any], width: int) -> str:
    """Return a curve one letter high: means of stretches; a blank where nothing is known.

    Example:
        >>> sparkline(np.array([0, 1, 2, 3, np.nan, 7.0]), 6)
        '▁▂▃▄ █'
    """
    low, high = _ranges(values, width)
    means = (low + high) / 2
    if np.isnan(means).all():
        return " " * len(means)
    bottom, span = np.nanmin(means), np.nanmax(means) - np.nanmin(means)
    levels = np.nan_to_num(1 + np.round((means - bottom) / (span or 1) * 7), nan=0)
    return "".join(EIGHTHS[int(level)] for level in levels)


def curve(values: NDArray[Any], width: int, height: int) -> list[str]:
    """Return a curve of several lines, each letter two levels: least to most of each stretch.

    Example:
        >>> print(*curve(np.array([0, 1, 2, 3, 2, 1.0]), 6, 2), sep="|")
          ▄▀▄ |▄▀   ▀
    """
    low, high = _ranges(values, width)
    if np.isnan(low).all():
        return [" " * len(low)] * height
    bottom, levels = np.nanmin(low), 2 * height
    span = (np.nanmax(high) - bottom) or 1
    from_ = np.clip((low - bottom) / span * levels, 0, levels - 1)
    to = np.clip((high - bottom) / span * levels, 0, levels - 1)
    at = np.arange(levels)[:, None]
    with np.errstate(invalid="ignore"):
        lit = (at >= np.floor(from_)) & (at <= np.floor(to))
    upper, lower = lit[1::2], lit[0::2]
    letters = upper + 2 * lower
    return ["".join(HALVES[n] for n in row) for row in letters[::-1]]


def bar(share: float, width: int) -> str:
    """Return a bar of a share of a width.

    Example:
        >>> bar(0.3, 5)
        '█▌'
    """
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + LEFT[eighths % 8].strip()


def _ranges(values: NDArray[Any], width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The least and the most of each of at most `width` stretches; NaN where nothing is known."""
    edges = np.linspace(0, len(values), min(width, len(values)) + 1).astype(int)[:-1]
    values = np.asarray(values, np.float64)
    return np.fmin.reduceat(values, edges), np.fmax.reduceat(values, edges)
