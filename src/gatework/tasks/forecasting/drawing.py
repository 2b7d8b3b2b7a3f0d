"""Series and their forecasts as a drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatework.lens.drawing import Plot, empty_figure, finished, in_style
from gatework.printable import printable
from gatework.tasks.forecasting.chart import steps_shown
from gatework.tasks.forecasting.forecasts import Ahead

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_DRAWN", "draw_forecasts"]

MOST_DRAWN = 6
"""Series that a drawing has room for."""
KNOWN, FORECAST = "#6b7480", "#2f7fc1"


@in_style
def draw_forecasts(ahead: Ahead) -> Plot:
    """Draw the first series, each target for itself: the past, then the median and its quantiles.

    What came, where that is known, is drawn beside the forecast.
    """
    panels = [
        (number, target)
        for number in range(min(len(ahead), MOST_DRAWN))
        for target in range(len(ahead.targets))
    ][:MOST_DRAWN]
    figure = empty_figure(8.0, 0.4 + 2.3 * len(panels))
    every = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axes, (number, target) in zip(every, panels, strict=True):
        _draw(axes, ahead, number, target)
    every[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4)  # above, on no line
    return finished(figure, "forecast")


def _draw(axes: Axes, ahead: Ahead, number: int, target: int) -> None:
    times, past = ahead.past(number, steps_shown(ahead))
    before, after = _dates(ahead, times), _dates(ahead, ahead.times[number])
    quantiles = ahead.found.quantiles[number, :, target]
    for k in range(len(ahead.levels) // 2):
        low, high = quantiles[:, k], quantiles[:, -1 - k]
        label = f"{ahead.levels[k]:g} – {ahead.levels[-1 - k]:g}"
        axes.fill_between(after, low, high, color=FORECAST, alpha=0.2, linewidth=0, label=label)
    axes.plot(before, past[:, target], color=KNOWN, linewidth=1.5, label="known")
    axes.plot(
        after, ahead.found.truth[number, :, target], color=KNOWN, linewidth=1.5, linestyle=":"
    )
    median = quantiles[:, ahead.levels.index(0.5)]
    axes.plot(after, median, color=FORECAST, linewidth=2, label="forecast")
    axes.grid(linewidth=0.6)
    several = [ahead.name(number)] if len(ahead.sequences) > 1 else []
    name = printable(" · ".join([*several, ahead.targets[target]]))
    axes.set_ylabel(name, parse_math=False)
    axes.margins(x=0.01)


def _dates(ahead: Ahead, times: NDArray[np.float64]) -> NDArray[Any]:
    return times.astype("M8[s]") if ahead.sequences.dated else times
