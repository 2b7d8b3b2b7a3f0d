"""Measurements drawn as SVG, in the colours of the page that they stand in."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatework.lens.horizon import MemoryHorizon
from gatework.lens.passage import Passage

__all__ = ["Curve", "draw_horizons", "draw_learning_curves", "draw_passage"]

Curve = tuple[Sequence[float], Sequence[float]]
"""x and y, of one length."""

INK, GRID = "#010203", "#040506"
"""Stand for the page's own colours, which only the page knows: light, dark or print."""
LINES = (("#d1603d", "-"), ("#2f7fc1", "--"), ("#3c9a6a", "-."), ("#a56cc1", ":"))
"""Colour and dash of each line: told apart on paper and dark glass, and without colour."""
LEAST_INFLUENCE = 1e-8
"""What is below is not drawn."""
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.transparent": True,
}

_Item = TypeVar("_Item")


@mpl.rc_context(STYLE)
def draw_learning_curves(curves: Mapping[str, Curve], x_label: str) -> str:
    """Draw held-out bits per byte against x, a line per name."""
    figure, axes = _canvas(6.0, 3.6)
    for (name, (x, y)), style in _styled(curves):
        axes.plot(x, y, label=name, **style)
    axes.set_xlabel(x_label)
    axes.set_ylabel("bits per byte")
    axes.legend()
    return _svg(figure, "curves")


@mpl.rc_context(STYLE)
def draw_horizons(horizons: Mapping[str, MemoryHorizon]) -> str:
    """Draw influence against lag with its band on a logarithmic axis, a line per name."""
    figure, axes = _canvas(6.0, 4.2)
    for (name, horizon), style in _styled(horizons):
        axes.plot(horizon.lags, horizon.mean(), label=name, **style)
        low, high = horizon.band()
        axes.fill_between(horizon.lags, low, high, color=style["color"], alpha=0.25, linewidth=0)
    axes.set_yscale("log")
    lowest = min(float(horizon.mean().min()) for horizon in horizons.values())
    axes.set_ylim(max(lowest, LEAST_INFLUENCE) / 2, 3)
    axes.set_xlabel("k, bytes back")
    axes.set_ylabel("influence, share of that at k = 0")
    axes.legend()
    return _svg(figure, "horizons")


@mpl.rc_context(STYLE)
def draw_passage(passage: Passage, name: str) -> str:
    """Draw gates and states of some units under the characters that the network reads.

    Args:
        passage: what to draw.
        name: of the drawing, unlike that of any other on the page.
    """
    panels = {**passage.gates, **passage.states}
    width = 0.13 * len(passage.text) + 1.0
    height = (0.2 * len(passage.units) + 0.55) * len(panels)
    figure = Figure((width, height), layout="constrained")
    rows = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axes, (panel, values) in zip(rows, panels.items(), strict=True):
        _draw_panel(axes, values, is_gate=panel in passage.gates)
        _label_panel(axes, f"{panel} ({_kind(panel, passage)})", passage)
    return _svg(figure, name)


def _draw_panel(axes: Axes, values: NDArray[np.float32], is_gate: bool) -> None:
    """Draw a row per unit, a column per character: gates from 0 to 1, states around 0."""
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


def _label_panel(axes: Axes, title: str, passage: Passage) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=3)
    axes.set_yticks(range(len(passage.units)), [f"{unit}" for unit in passage.units], fontsize=8)
    characters = [_visible(character) for character in passage.text]
    axes.set_xticks(range(len(characters)), characters, fontsize=10, family="monospace")
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)


def _kind(panel: str, passage: Passage) -> str:
    return "gate: dark is closed, bright is open" if panel in passage.gates else "state"


def _visible(character: str) -> str:
    return {" ": "·", "\n": "↵", "\t": "→"}.get(character, character)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(linewidth=0.6)
    return figure, axes


def _styled(lines: Mapping[str, _Item]) -> Iterable[tuple[tuple[str, _Item], dict[str, Any]]]:
    """Pair each line with its colour and dash."""
    for i, item in enumerate(lines.items()):
        colour, dash = LINES[i % len(LINES)]
        yield item, {"color": colour, "linestyle": dash, "linewidth": 2}


def _svg(figure: Figure, name: str) -> str:
    """Return the drawing as an SVG element that may stand in a page with others.

    Its ids begin with `name`, and its ink is the page's.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for stand_in, colour in ((INK, "currentColor"), (GRID, "var(--line)")):
        svg = svg.replace(stand_in, colour)
    return svg
