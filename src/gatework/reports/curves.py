"""Curves of what a network reads, as parts of larger drawings.

T  time steps
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gatework.lens.drawing import GRID, INK, LINES, Plot, empty_figure, finished, fitting, in_style
from gatework.printable import printable
from gatework.tasks.held_out import Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = [
    "CURVES_WIDTH",
    "CURVE_HEIGHT",
    "LABEL_HEIGHT",
    "Peak",
    "draw_curve",
    "draw_labels",
    "draw_peaks",
    "mark_times",
    "stamps",
    "telling_curves",
]

CURVE_HEIGHT, LABEL_HEIGHT = 0.95, 0.42
"""Inches of a panel with a curve, and of one with labels."""
CURVES_WIDTH = 9.6
"""Inches of a drawing that is as wide as a page."""
MOST_CURVES, MOST_TICKS = 4, 8
CURVE = LINES[1][0]
SHADES = ("#2f7fc133", "#d1603d33", "#3c9a6a33", "#a56cc133", "#b5890033", "#6b748033")
"""Behind labels; each label has one of them."""
MINUTE, DAY = 60.0, 86_400.0

Curves = Mapping[str, NDArray[np.float32]]


def telling_curves(
    curves: Curves, shown: Sequence[NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Return the curves that are worth drawing: the first, and those that shown units follow most.

    Args:
        curves: by name the values [T].
        shown: what units do, [units, T] each.

    Example:
        >>> moving, still = np.float32([0, 1, 2]), np.float32([5, 5, 5])
        >>> curves = {"a": still, **dict.fromkeys("bcdef", still), "g": moving}
        >>> list(telling_curves(curves, [moving[None]]))
        ['a', 'b', 'c', 'g']
    """
    first, *others = curves or [""]
    told = {name: _followed(curves[name], shown) for name in others}
    best = sorted(others, key=lambda name: -told[name])[: MOST_CURVES - 1]
    return {name: curves[name] for name in curves if name == first or name in best}


def _followed(curve: NDArray[np.float32], shown: Sequence[NDArray[np.float32]]) -> float:
    """The largest |r| of a unit with a curve, over the steps where that is known."""
    known = ~np.isnan(curve)
    rows = [np.concatenate([one[:, known] for one in shown]), curve[None, known]]
    units, own = (r - r.mean(1, keepdims=True) if r.shape[1] else r for r in rows)
    size = np.linalg.norm(units, axis=1) * np.linalg.norm(own)
    together = np.abs(units @ own[0])
    return float(np.divide(together, size, out=np.zeros_like(size), where=size > 0).max())


def draw_curve(axes: Axes, name: str, values: NDArray[np.float32]) -> None:
    """Draw a curve over the columns of a map; where a value is missing there is a gap."""
    steps = np.arange(len(values))
    axes.plot(steps, values, color=CURVE, linewidth=1.5)
    alone = _alone(values)
    axes.plot(steps[alone], values[alone], ".", color=CURVE, markersize=3)
    axes.set_title(
        printable(name), loc="left", fontsize=10, fontweight="bold", pad=3, parse_math=False
    )
    _bare(axes, len(values))
    axes.spines["left"].set_visible(True)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.locator_params(axis="y", nbins=3)
    axes.tick_params(axis="y", length=0, labelsize=8)


def _alone(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which values no line reaches: their neighbours are missing."""
    missing = np.pad(np.isnan(values), 1, constant_values=True)
    alone: NDArray[np.bool_] = ~missing[1:-1] & missing[:-2] & missing[2:]
    return alone


def draw_labels(axes: Axes, labels: Sequence[str], inner: float) -> dict[Text, float]:
    """Draw what steps are labelled; return what is written, with its room.

    Args:
        axes: where.
        labels: of each step.
        inner: inches that all steps have together.
    """
    known = list(dict.fromkeys(label for label in labels if label))
    begin = 0
    room: dict[Text, float] = {}
    for label, run in groupby(labels):
        end = begin + len(list(run))
        if label:
            shade = SHADES[known.index(label) % len(SHADES)]
            axes.axvspan(begin - 0.5, end - 0.5, color=shade, linewidth=0)
            width = inner * (end - begin) / len(labels)
            room |= _written(axes, printable(label), (begin + end - 1) / 2, width)
        begin = end
    axes.set_title("label", loc="left", fontsize=10, fontweight="bold", pad=3)
    axes.set_yticks([])
    _bare(axes, len(labels))
    return room


def _written(axes: Axes, label: str, at: float, width: float) -> dict[Text, float]:
    """A label in the middle of its steps, unless it would be too small to be read."""
    size = fitting(label, width)
    if size < 6:
        return {}
    text = axes.text(at, 0.5, label, ha="center", va="center", fontsize=size, parse_math=False)
    return {text: width}


def _bare(axes: Axes, steps: int) -> None:
    """Axes over the columns of a map, without a frame."""
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def mark_times(axes: Axes, track: Track, steps: int, first: int, most: int = MOST_TICKS) -> None:
    """Write under a map when its columns are: their times, or the numbers of steps.

    Args:
        axes: of the map.
        track: what stands at the steps.
        steps: T.
        first: number of the first step.
        most: how many columns get a mark.
    """
    apart = next(n for n in _strides() if n * most >= steps)
    at = np.arange(0, steps, apart)
    names = [f"{first + k:,}" for k in at] if track.times is None else stamps(track, at)
    axes.set_xticks(at, names, fontsize=8, color=INK)
    axes.tick_params(axis="x", length=3, pad=2)
    if track.times is None:
        axes.set_xlabel("step", fontsize=8)


def _strides() -> Iterator[int]:
    """Numbers of steps between two marks: such as make whole days of hours."""
    yield from (1, 2)
    yield from (3 * 2**k for k in count())


def stamps(track: Track, steps: NDArray[np.int64]) -> list[str]:
    """Return when steps are, all as short as tells them apart.

    Example:
        >>> hours = Track(times=3600.0 * np.arange(49), dated=True)
        >>> stamps(hours, np.array([0, 24])), stamps(hours, np.array([1]))
        (['1970-01-01', '1970-01-02'], ['1970-01-01 01:00'])
    """
    assert track.times is not None
    times = track.times[steps]
    if not track.dated:
        return [f"{time:.6g}" for time in times]
    units = {10: DAY, 16: MINUTE}  # characters of a date, and of it with hours and minutes
    end = next((end for end, unit in units.items() if not (times % unit).any()), None)
    return [str(time).replace("T", " ")[:end] for time in times.astype("M8[s]")]


class Peak:
    """A passage on which a unit is most active.

    Args:
        track: what stands there.
        around: the unit's activation at its steps, [T].
        peak: the step of the peak.
    """

    def __init__(self, track: Track, around: NDArray[np.float64], peak: int) -> None:
        self.track, self.around, self.peak = track, around, peak

    @property
    def title(self) -> str:
        """Which sequence it is, and when."""
        at = np.array([self.peak])
        when = [] if self.track.times is None else stamps(self.track, at)
        return printable(" · ".join(filter(None, [self.track.name, *when])))


@in_style
def draw_peaks(peaks: Sequence[Peak], name: str, follows: str = "") -> Plot:
    """Draw passages side by side: a curve, and under it the unit.

    Args:
        peaks: of one unit.
        name: of the drawing, unlike that of any other on the page.
        follows: what the unit goes with; where that is no curve, the one that it follows most here
            is drawn.
    """
    figure = empty_figure(CURVES_WIDTH, 2.4)
    every = figure.subplots(2, max(len(peaks), 3), squeeze=False, sharey="row")
    known = follows in peaks[0].track.curves
    column = follows if known else _followed_most(peaks)
    for k, peak in enumerate(peaks):
        _draw_peak(every[0, k], every[1, k], peak, column)
    for axes in every[:, len(peaks) :].ravel():
        axes.set_axis_off()
    every[0, 0].set_ylabel(printable(column), fontsize=9, parse_math=False)
    every[1, 0].set_ylabel("unit", fontsize=9)
    return finished(figure, name)


def _followed_most(peaks: Sequence[Peak]) -> str:
    """The curve that a unit follows most over its passages; "" where there is none."""
    names = list(peaks[0].track.curves)
    rows = [np.concatenate([p.around for p in peaks])[None].astype(np.float32)]
    curves = {n: np.concatenate([p.track.curves[n] for p in peaks]) for n in names}
    return max(names, key=lambda name: _followed(curves[name], rows), default="")


def _draw_peak(above: Axes, below: Axes, peak: Peak, column: str) -> None:
    values = peak.track.curves.get(column, np.full(len(peak.around), np.nan, np.float32))
    for axes, shown, colour in ((above, values, CURVE), (below, peak.around, LINES[0][0])):
        axes.axvline(peak.peak, color=INK, linewidth=0.8, alpha=0.5)
        axes.plot(shown, color=colour, linewidth=1.5)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0, labelsize=8)
    above.set_title(peak.title, fontsize=8, parse_math=False)
