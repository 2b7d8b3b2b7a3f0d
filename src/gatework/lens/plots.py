"""Measurements drawn: as SVG in the colours of a page, as files, in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from gatework.lens.drawing import GRID, STYLE, Plot, canvas, finished, name_lines, styled
from gatework.lens.flow import GradientFlow
from gatework.lens.horizon import MemoryHorizon
from gatework.lens.measurement import Measurement
from gatework.lens.retention import Retention
from gatework.lens.saturation import LEFT, RIGHT, Saturation

__all__ = [
    "draw_flows",
    "draw_horizons",
    "draw_retentions",
    "draw_saturation",
    "plot",
    "short_names",
]

DOTS = "#2f7fc1"
LEAST_INFLUENCE = 1e-8
"""What is below is not drawn."""


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
def draw_horizons(horizons: Mapping[str, MemoryHorizon], step: str = "bytes") -> Plot:
    """Draw influence against lag with its band on a logarithmic axis, a line per name."""
    figure, axes = canvas(6.0, 4.2)
    for (name, horizon), style in styled(horizons):
        axes.plot(horizon.lags, horizon.mean(), label=name, **style)
        low, high = horizon.band()
        axes.fill_between(horizon.lags, low, high, color=style["color"], alpha=0.25, linewidth=0)
    if any(horizon.mean().any() for horizon in horizons.values()):  # else all lie on the ground
        axes.set_yscale("log")
    lowest = min(float(horizon.mean().min()) for horizon in horizons.values())
    axes.set_ylim(max(lowest, LEAST_INFLUENCE) / 2, 3)
    axes.set_xlabel(f"k, {step} back")
    axes.set_ylabel("influence, share of that at k = 0")
    name_lines(axes)
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
    figure, axes = canvas(6.0, 4.0)
    for (name, norms), style in styled(lines):
        share = norms / (norms.max() or 1.0)
        axes.plot(np.where(share > LEAST_INFLUENCE, share, np.nan), label=name, **style)
    axes.set_yscale("log")
    axes.set_xlabel("steps back from the last one")
    axes.set_ylabel("gradient, share of the largest")
    name_lines(axes)
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
    figure, axes = canvas(6.0, 4.0)
    for (name, (lags, survival)), style in styled(lines):
        low, middle, high = np.quantile(survival, [0.1, 0.5, 0.9], axis=1)
        axes.plot(lags, middle, label=name, **style)
        axes.fill_between(lags, low, high, color=style["color"], alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("k, steps later")
    axes.set_ylabel("share of a stored value that is left")
    if lines:
        name_lines(axes)
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
