"""Series and forecasts drawn with letters, for terminals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatework.tasks.forecasting.forecasts import Ahead

__all__ = ["chart", "steps_shown"]

HEIGHT = 12
KNOWN, FORECAST, BETWEEN, NOW = "•", "●", "░", "│"
LEAST = 1e-300
"""Between the least and the most where all values are the same."""
PAST = 3
"""Times as many steps of the past as of the forecast are shown."""


def steps_shown(ahead: Ahead) -> int:
    """Return how many steps of the past are shown beside a forecast."""
    return PAST * len(ahead.times[0])


def chart(ahead: Ahead, number: int, target: int = 0, width: int = 72) -> str:
    """Draw one target of a series and its forecast, between the outermost quantiles.

    Args:
        ahead: forecasts.
        number: of the series.
        target: number of the target.
        width: letters in a line.
    """
    times, past = ahead.past(number, steps_shown(ahead))
    known = np.concatenate([past[:, target], ahead.found.truth[number, :, target]])
    quantiles = ahead.found.quantiles[number, :, target]
    bottom, top = (float(f([f(known), f(quantiles)])) for f in (np.nanmin, np.nanmax))
    labels = [f"{top:.4g}", *[""] * (HEIGHT - 2), f"{bottom:.4g}"]
    margin = max(map(len, labels))
    columns = max(1, min(width - margin - 2, len(known)))
    canvas = np.full((HEIGHT, columns), " ")
    at = np.arange(len(known)) * columns // len(known)
    canvas[:, at[len(past)]] = NOW
    share = (top - quantiles) / max(top - bottom, LEAST)
    _draw_band(canvas, at[len(past) :], share)
    _draw_dots(canvas, at, (top - known) / max(top - bottom, LEAST), KNOWN)
    _draw_dots(canvas, at[len(past) :], share[:, ahead.levels.index(0.5)], FORECAST)
    lines = [f"{a:>{margin}} ┤{''.join(row)}" for a, row in zip(labels, canvas, strict=True)]
    first, last = ahead.stamp(float(times[0])), ahead.stamp(float(ahead.times[number, -1]))
    room = max(1, columns - len(first) - len(last))
    return "\n".join([*lines, f"{'':{margin}}  {first}{'':{room}}{last}"])


def _draw_band(canvas: NDArray[np.str_], at: NDArray[np.int64], share: NDArray[np.float64]) -> None:
    """Fill what lies between the outermost quantiles; shares [K, Q] are those from the top."""
    for column, quantiles in zip(at, share, strict=True):
        canvas[_line(quantiles[-1]) : _line(quantiles[0]) + 1, column] = BETWEEN


def _draw_dots(
    canvas: NDArray[np.str_], at: NDArray[np.int64], share: NDArray[np.float64], dot: str
) -> None:
    for column, down in zip(at, share, strict=True):
        if not np.isnan(down):
            canvas[_line(down), column] = dot


def _line(share: float) -> int:
    """Of the lines of a chart the one that lies so far down."""
    return round(float(share) * (HEIGHT - 1))
