"""A passage drawn: gates and states of some units under what the network reads."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from gatework.data import Character
from gatework.lens import Passage
from gatework.lens.drawing import INK, Plot, empty_figure, finished, fitting, in_style
from gatework.reports.curves import (
    CURVE_HEIGHT,
    CURVES_WIDTH,
    LABEL_HEIGHT,
    draw_curve,
    draw_labels,
    mark_times,
    telling_curves,
)
from gatework.tasks.held_out import Track

__all__ = ["columns_in_words", "draw_passage", "rows_in_words"]

COLUMN = 0.13
"""Inches that a symbol of a text is wide."""
COLUMNS = (
    "Each column is one {} of a passage that the network has not seen, from left to right as it "
    "reads them, each row one unit, or one head where states have heads. Under them stand the "
    "characters{} (· is a space, ↵ a line's end{})."
)
STEPS = (
    "Each column is one step of a passage that the network has not seen, from left to right as it "
    "reads them, each row one unit, or one head where states have heads. Above them stand curves "
    "of what it reads; a gap is a value that is missing."
)


def columns_in_words(step: str) -> str:
    """What the columns and rows are, in words for a page.

    Args:
        step: what a step is called.
    """
    if step == "byte":
        spans = "; one that takes several bytes spans them"
        return COLUMNS.format(step, spans, ", E5 a byte that belongs to no character")
    return COLUMNS.format(step, "", "") if step == "character" else STEPS


@in_style
def draw_passage(passage: Passage, name: str, track: Track | None = None, first: int = 0) -> Plot:
    """Draw gates and states of some units, with what the network reads.

    Characters stand under them, each in the middle of its columns; curves over them.

    Args:
        passage: what to draw.
        name: of the drawing, unlike that of any other on the page.
        track: what stands at the steps; None where the passage has its characters.
        first: number of the first step, where steps have no times.
    """
    panels = {**passage.gates, **passage.states}
    longest = max(len(label) for panel in panels for label in passage.labels(panel))
    told = track or Track(passage.characters)
    curves = telling_curves(told.curves, [*panels.values()])
    heights = [CURVE_HEIGHT] * len(curves) + [LABEL_HEIGHT] * bool(told.labels)
    heights += [0.2 * len(passage.units) + 0.55] * len(panels)
    beside = 0.8 + 0.07 * longest
    inner = COLUMN * passage.steps if told.characters else CURVES_WIDTH - beside
    figure = empty_figure(inner + beside, sum(heights))
    rows = list(figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0])
    for column, values in curves.items():
        draw_curve(rows.pop(0), column, values)
    room: dict[Text, float] = {}
    if told.labels:
        room |= draw_labels(rows.pop(0), told.labels, inner)
    for axes, (panel, values) in zip(rows, panels.items(), strict=True):
        _draw_panel(axes, values, is_gate=panel in passage.gates)
        room |= _label_panel(axes, panel, passage)
    if not told.characters:
        mark_times(rows[-1], told, passage.steps, first)
    return finished(figure, name, room)


def rows_in_words(passage: Passage) -> str:
    """Which rows are shown, in words."""
    if not passage.axis:
        return (
            f"of the {len(passage.units)} units that change most over the passage; the number of "
            "the unit stands at the left."
        )
    return (
        f"by {passage.axis}, those {len(passage.units)} that change most over the passage: the "
        "mean of a gate over the units there, and of a state the unit there that changes most, "
        "whose place on each axis stands at the left."
    )


def _draw_panel(axes: Axes, values: NDArray[np.float32], is_gate: bool) -> None:
    """Draw a row per unit, a column per step: gates from 0 to 1, states around 0."""
    highest = 1.0 if is_gate else float(np.abs(values).max()) or 1.0
    lowest = 0.0 if is_gate else -highest
    colours = "cividis" if is_gate else "RdBu_r"
    image = axes.imshow(
        values, cmap=colours, vmin=lowest, vmax=highest, aspect="auto", interpolation="none"
    )
    bar = axes.figure.colorbar(image, ax=axes, pad=0.006, fraction=0.012, aspect=8)
    bar.set_ticks([lowest, highest], labels=[f"{lowest:.2g}", f"{highest:.2g}"])
    bar.ax.tick_params(length=0, labelsize=8)
    bar.outline.set_visible(False)


def _label_panel(axes: Axes, panel: str, passage: Passage) -> dict[Text, float]:
    """Write title, units and characters; return the labels of these with their room in inches."""
    title = f"{panel} ({_kind(panel, passage)})"
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=3)
    axes.set_yticks(range(len(passage.units)), passage.labels(panel), fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    return {_write_below(axes, c): COLUMN * c.width for c in passage.characters}


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
        fontsize=fitting(character.label, COLUMN * character.width),
        parse_math=False,
    )


def _kind(panel: str, passage: Passage) -> str:
    return "gate: dark is closed, bright is open" if panel in passage.gates else "state"
