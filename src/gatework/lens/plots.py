"""Measurements drawn: as SVG in the colours of a page, as files, in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from gatework.data import Character
from gatework.lens.drawing import COLUMN, GRID, INK, STYLE, Plot, finished, fitting
from gatework.lens.flow import GradientFlow
from gatework.lens.horizon import MemoryHorizon
from gatework.lens.measurement import Measurement
from gatework.lens.passage import Passage
from gatework.lens.retention import Retention
from gatework.lens.saturation import LEFT, RIGHT, Saturation
from gatework.printable import printable

__all__ = [
    "Curve",
    "draw_flows",
    "draw_horizons",
    "draw_learning_curves",
    "draw_passage",
    "draw_retentions",
    "draw_saturation",
    "plot",
    "short_names",
]

Curve = tuple[Sequence[float], Sequence[float]]
"""x and y, of one length."""

DOTS = "#2f7fc1"
LINES = (
    ("#d1603d", "-"),
    ("#2f7fc1", "--"),
    ("#3c9a6a", "-."),
    ("#a56cc1", ":"),
    ("#b58900", (0, (5, 1))),
    ("#6b7480", (0, (3, 1, 1, 1, 1, 1))),
)
"""Colour and dash of each line: told apart on paper and dark glass, and without colour."""
LEAST_INFLUENCE = 1e-8
"""What is below is not drawn."""

_Item = TypeVar("_Item")


def plot(measurement: Measurement) -> Plot:
    """Draw a measurement.

    Raises:
        TypeError: Measurements of its kind have no drawing.

    Example:
        >>> import torch, gatework as gw
        >>> layer, x = gw.nn.LSTM(4, 8), torch.randn(30, 3, 4)
        >>> gw.lens.retention(layer, [x], lags=[1, 5, 20]).plot().save("retention.png")
    """
    if isinstance(measurement, MemoryHorizon):
        return draw_horizons({"output": measurement}, "steps")
    if isinstance(measurement, GradientFlow):
        return draw_flows({"": measurement})
    if isinstance(measurement, Retention):
        return draw_retentions({"": measurement})
    if isinstance(measurement, Saturation):
        return draw_saturation(measurement)
    raise TypeError(
        f"a {type(measurement).__name__} has no drawing; expected a MemoryHorizon, GradientFlow, "
        "Retention or Saturation"
    )


@mpl.rc_context(STYLE)
def draw_learning_curves(curves: Mapping[str, Curve], x_label: str) -> Plot:
    """Draw held-out bits per byte against x, a line per name."""
    figure, axes = _canvas(6.0, 3.6)
    for (name, (x, y)), style in _styled(curves):
        axes.plot(x, y, label=name, **style)
    axes.set_xlabel(x_label)
    axes.set_ylabel("bits per byte")
    _name_lines(axes)
    return finished(figure, "curves")


@mpl.rc_context(STYLE)
def draw_horizons(horizons: Mapping[str, MemoryHorizon], step: str = "bytes") -> Plot:
    """Draw influence against lag with its band on a logarithmic axis, a line per name."""
    figure, axes = _canvas(6.0, 4.2)
    for (name, horizon), style in _styled(horizons):
        axes.plot(horizon.lags, horizon.mean(), label=name, **style)
        low, high = horizon.band()
        axes.fill_between(horizon.lags, low, high, color=style["color"], alpha=0.25, linewidth=0)
    if any(horizon.mean().any() for horizon in horizons.values()):  # else all lie on the ground
        axes.set_yscale("log")
    lowest = min(float(horizon.mean().min()) for horizon in horizons.values())
    axes.set_ylim(max(lowest, LEAST_INFLUENCE) / 2, 3)
    axes.set_xlabel(f"k, {step} back")
    axes.set_ylabel("influence, share of that at k = 0")
    _name_lines(axes)
    return finished(figure, "horizons")


@mpl.rc_context(STYLE)
def draw_flows(flows: Mapping[str, GradientFlow]) -> Plot:
    """Draw the gradient's norm against steps back, as a share of that at the last step.

    Args:
        flows: by the name of the model; a line for each of its states.
    """
    lines = {
        _joined(name, short): flow.mean(state)
        for name, flow in flows.items()
        for state, short in short_names(flow.norms).items()
    }
    figure, axes = _canvas(6.0, 4.0)
    for (name, norms), style in _styled(lines):
        share = norms / (norms.max() or 1.0)
        axes.plot(np.where(share > LEAST_INFLUENCE, share, np.nan), label=name, **style)
    axes.set_yscale("log")
    axes.set_xlabel("steps back from the last one")
    axes.set_ylabel("gradient, share of the largest")
    _name_lines(axes)
    return finished(figure, "flows")


@mpl.rc_context(STYLE)
def draw_retentions(retentions: Mapping[str, Retention]) -> Plot:
    """Draw what is left of a stored value: the median unit, and the band from 10 to 90 % of them.

    Args:
        retentions: by the name of the model; a line for each of its states that keeps something.
    """
    lines = {
        _joined(name, short): (found.lags, found.survival[state])
        for name, found in retentions.items()
        for state, short in short_names(found.survival).items()
        if state in found.keeping
    }
    figure, axes = _canvas(6.0, 4.0)
    for (name, (lags, survival)), style in _styled(lines):
        low, middle, high = np.quantile(survival, [0.1, 0.5, 0.9], axis=1)
        axes.plot(lags, middle, label=name, **style)
        axes.fill_between(lags, low, high, color=style["color"], alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("k, steps later")
    axes.set_ylabel("share of a stored value that is left")
    if lines:
        _name_lines(axes)
    return finished(figure, "retentions")


@mpl.rc_context(STYLE)
def draw_saturation(saturation: Saturation) -> Plot:
    """Draw each unit of each gate by how often it is all but closed, and all but open.

    After Karpathy, Johnson & Fei-Fei 2015, figure 2 (right).
    """
    gates = short_names(saturation.gates or tuple(saturation.left))
    columns = min(3, max(1, len(gates)))
    rows = max(1, -(-len(gates) // columns))
    figure = Figure((2.4 * columns + 0.6, 2.6 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for axes, (gate, title) in zip(places, gates.items(), strict=False):
        axes.plot([0, 1], [1, 0], color=GRID, linewidth=0.8)
        axes.scatter(saturation.left[gate], saturation.right[gate], s=14, alpha=0.6, color=DOTS)
        axes.set_title(title, fontsize=10, fontweight="bold")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    for axes in list(places)[len(gates) :]:
        axes.set_visible(False)
    figure.supxlabel(f"share of steps below {LEFT:g}", fontsize=10)
    figure.supylabel(f"share of steps above {RIGHT:g}", fontsize=10)
    return finished(figure, "saturation")


@mpl.rc_context(STYLE)
def draw_passage(passage: Passage, name: str) -> Plot:
    """Draw gates and states of some units over the characters that the network reads.

    Each column is a byte; a character stands in the middle of its bytes.

    Args:
        passage: what to draw.
        name: of the drawing, unlike that of any other on the page.
    """
    panels = {**passage.gates, **passage.states}
    width = COLUMN * passage.steps + 1.0
    height = (0.2 * len(passage.units) + 0.55) * len(panels)
    figure = Figure((width, height), layout="constrained")
    rows = figure.subplots(len(panels), squeeze=False)[:, 0]
    labels: dict[Text, int] = {}
    for axes, (panel, values) in zip(rows, panels.items(), strict=True):
        _draw_panel(axes, values, is_gate=panel in passage.gates)
        labels |= _label_panel(axes, f"{panel} ({_kind(panel, passage)})", passage)
    return finished(figure, name, labels)


def _joined(name: str, value: str) -> str:
    """The name of a line: of the model, where there are several, and of the value in it."""
    return " ".join(filter(None, [name, value]))


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Full names of values, such as "layer.l0.c", without the layer where all are of the same.

    Example:
        >>> short_names(["layer.l0.c", "layer.l0.h"])
        {'layer.l0.c': 'c', 'layer.l0.h': 'h'}
        >>> short_names(["layer.l0.c", "layer.l1.c"])
        {'layer.l0.c': 'l0.c', 'layer.l1.c': 'l1.c'}
    """
    parts = {name: name.split(".") for name in names}
    least = min(map(len, parts.values()), default=0)
    same = 0
    while same < least - 1 and len({tuple(p[: same + 1]) for p in parts.values()}) == 1:
        same += 1
    return {name: ".".join(p[same:]) for name, p in parts.items()}


def _draw_panel(axes: Axes, values: NDArray[np.float32], is_gate: bool) -> None:
    """Draw a row per unit, a column per byte: gates from 0 to 1, states around 0."""
    highest = 1.0 if is_gate else float(np.abs(values).max())
    lowest = 0.0 if is_gate else -highest
    colours = "cividis" if is_gate else "RdBu_r"
    image = axes.imshow(
        values, cmap=colours, vmin=lowest, vmax=highest, aspect="auto", interpolation="none"
    )
    bar = axes.figure.colorbar(image, ax=axes, pad=0.006, fraction=0.012, aspect=8)
    bar.set_ticks([lowest, highest], labels=[f"{lowest:.2g}", f"{highest:.2g}"])
    bar.ax.tick_params(length=0, labelsize=8)
    bar.outline.set_visible(False)


def _label_panel(axes: Axes, title: str, passage: Passage) -> dict[Text, int]:
    """Write title, units and characters; return the labels of these with their columns."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=3)
    axes.set_yticks(range(len(passage.units)), [f"{unit}" for unit in passage.units], fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    return {_write_below(axes, character): character.width for character in passage.characters}


def _write_below(axes: Axes, character: Character) -> Text:
    """Write a character in the middle of its columns; a line shows how many they are."""
    first, last = character.first - 0.5, character.first + character.width - 0.5
    below = axes.get_xaxis_transform()
    if character.width > 1:
        line = Line2D([first + 0.15, last - 0.15], [-0.02, -0.02], transform=below, clip_on=False)
        line.set(color=INK, linewidth=0.6)
        axes.add_line(line)
    return axes.annotate(
        character.label,
        ((first + last) / 2, 0),
        xycoords=below,
        xytext=(0, -4),
        textcoords="offset points",
        annotation_clip=False,
        horizontalalignment="center",
        verticalalignment="top",
        fontsize=fitting(character.label, character.width),
        parse_math=False,
    )


def _kind(panel: str, passage: Passage) -> str:
    return "gate: dark is closed, bright is open" if panel in passage.gates else "state"


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(linewidth=0.6)
    return figure, axes


def _styled(lines: Mapping[str, _Item]) -> Iterable[tuple[tuple[str, _Item], dict[str, Any]]]:
    """Pair each line, by its name as it can be drawn, with its colour and dash."""
    for i, (name, line) in enumerate(lines.items()):
        colour, dash = LINES[i % len(LINES)]
        yield (_label(name), line), {"color": colour, "linestyle": dash, "linewidth": 2}


def _label(name: str) -> str:
    """A name as matplotlib takes it, which leaves out lines whose names begin with "_"."""
    text = printable(name)
    return f" {text}" if text.startswith("_") else text


def _name_lines(axes: Axes) -> None:
    """Say which line is which; a name is no formula, whatever stands in it."""
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
