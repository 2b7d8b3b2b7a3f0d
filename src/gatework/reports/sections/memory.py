"""How far back it remembers: influence, gradients on their way back, and what states keep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatework.lang.expressions import Reduce, postorder
from gatework.lens import MemoryHorizon
from gatework.lens.plots import draw_flows, draw_horizons, draw_retentions
from gatework.reports.held_out import MAX_LAG
from gatework.reports.inspection import Inspection
from gatework.reports.page import figure, paragraph, table
from gatework.reports.sections.section import (
    MOST_PLACES,
    Found,
    Part,
    Section,
    first_axis,
    full_name,
    model_name,
    short_name,
    steps_of,
)

__all__ = ["MEMORY", "reach", "reads_backward"]

VERDICTS = {"vanishing": "vanishes", "healthy": "arrives", "exploding": "explodes"}
HORIZON = (
    "Influence is how much the network's output would change if what it read k steps earlier were "
    "a little different, as a share of the largest; the axis is logarithmic. What has no influence "
    "any more is forgotten."
)
FLOW = (
    "Learning goes the other way: from an error after the last step back over {} steps "
    "to what caused it. The curves show how much of the gradient arrives at each state. The growth "
    "rate is by what factor it changes with each step back. Where the gradient falls to a "
    "thousandth within a hundred steps, it vanishes: what is far back can hardly be learned from."
)
RADIUS = (
    "The spectral radius is the largest |eigenvalue| of the recurrent Jacobian ∂sₜ/∂sₜ₋₁ of all "
    "states of a layer together, on average over some held-out steps: the factor of the one "
    "direction that lasts longest in that step. Near 1 something can last; how much of the "
    "gradient does, the growth rates tell."
)
RETENTION = (
    "How much of a value that a unit stores is still there k steps later, through no matrix: the "
    "product of the gates that multiply it. The line is the median unit, the band the middle 80 %. "
    "The time constant is the number of steps in which a stored value falls to a third (1/e)."
)


def reach(horizon: MemoryHorizon) -> str:
    """For how many steps an influence of 1 % is felt, in words."""
    steps, farthest = horizon.reach(0.01), int(horizon.lags[-1])
    return f"{steps}" if steps <= farthest else f"more than {farthest}"


def _horizons(found: Found) -> Iterator[str]:
    horizons = {one.name: one.horizon for one in found}
    told = " ".join(f"{n} falls below 1 % after {reach(h)} steps." for n, h in horizons.items())
    caption = "Influence of the step k steps back: mean and 95 % band over places of held-out data."
    drawing = draw_horizons(horizons, steps_of(found)).in_page
    yield figure(drawing, told, caption)
    for one in found:
        if words := _looked_back(one):
            yield paragraph(words, quiet=True)


def _looked_back(one: Inspection) -> str:
    """What is to be known of how far back was looked, where it is not as far as usual."""
    words = []
    if (lag := int(one.horizon.lags[-1])) < MAX_LAG:
        words.append(
            f"{one.name} is looked back in over {lag} {one.step}s, half of a sequence of middling "
            "length."
        )
    if one.subject.reads_backward:
        words.append(f"Of {one.name} it is the forward direction whose output is looked back from.")
    return " ".join(words)


def _flow_words(found: Found) -> str:
    return FLOW.format(max(one.flow_steps for one in found))


def _flows(found: Found) -> Iterator[str]:
    flows = {model_name(found, one): one.flow for one in found}
    told = "; ".join(
        f"{one.name} {short_name(one, s)}: growth {one.flow.growth(s):.3f} a step"
        for one in found
        for s in one.flow.norms
    )
    yield figure(draw_flows(flows).in_page, told, "Norm of the gradient at each state.")
    header = ("state", "growth rate", "the gradient")
    yield table(header, [row for one in found for row in _flow_rows(found, one)])


def _flow_rows(found: Found, one: Inspection) -> Iterator[tuple[str, ...]]:
    for state in one.flow.norms:
        verdict = "–" if reads_backward(state) else VERDICTS[one.flow.verdict(state)]
        yield full_name(found, one, state), f"{one.flow.growth(state):.3f}", verdict


def reads_backward(state: str) -> bool:
    """Whether a state is of a backward direction, by its full name.

    That direction makes the last step first, so an error after it has no way to go back.
    """
    return state.rpartition(".")[0].endswith("_reverse")


def _radii(found: Found) -> Iterator[str]:
    rows = [row for one in found for row in _radius_rows(found, one)]
    yield table(("layer", "spectral radius"), rows)


def _radius_rows(found: Found, one: Inspection) -> Iterator[tuple[str, ...]]:
    radii = one.flow.spectral_radius
    for k, (place, radius) in enumerate(radii.items()):
        layer = f"layer {k}" if len(radii) > 1 or len(found) == 1 else ""
        if one.subject.reads_backward or len(one.subject.layers) > 1:
            layer = place.removeprefix("layer.")
        yield f"{model_name(found, one)} {layer}".strip(), f"{radius.mean():.2f}"


def _retentions(found: Found) -> Iterator[str]:
    """What is left of stored values: of the states that store any."""
    kept = {model_name(found, one): one.retention for one in found if one.retention.keeping}
    if kept:
        drawing = draw_retentions(kept).in_page
        yield figure(drawing, "Share left against steps.", "What is left of it.")
        header = ("state", "median τ", "longest-lived tenth", "longest τ")
        yield table(header, [row for one in found for row in _retention_rows(found, one)])
        yield from (part for one in found for part in _by_place(found, one))
        if summed := [name for one in found for name in _read_in_sums(found, one)]:
            yield paragraph(
                f"{', '.join(summed)}: what a step takes away by way of a sum over the units, as "
                "the delta rule does when it overwrites what is held under a key, is not counted."
            )
    anew = [
        full_name(found, one, state)
        for one in found
        for state in one.retention.mean
        if state not in one.retention.keeping
    ]
    if anew:
        yield paragraph(
            f"Written anew at every step, so that nothing is stored: {', '.join(anew)}."
        )


def _retention_rows(found: Found, one: Inspection) -> Iterator[tuple[str, ...]]:
    for state in one.retention.keeping:
        tau = one.retention.time_constant(state)
        steps = map(_steps, (np.median(tau), np.quantile(tau, 0.9, method="nearest"), tau.max()))
        yield full_name(found, one, state), *steps


def _read_in_sums(found: Found, one: Inspection) -> list[str]:
    """The states that a step reads in a sum over their units, and so may take from in it."""
    return [full_name(found, one, full) for full in one.retention.keeping if _is_summed(one, full)]


def _is_summed(one: Inspection, full: str) -> bool:
    """Whether a step reads a state in a sum over its units."""
    cell, name = one.subject.cell_of(full), full.rpartition(".")[2]
    state = next(state for state in cell.states if state.name == name)
    steps = postorder([cell.names[name]])
    return any(isinstance(n, Reduce) and state in postorder([n]) for n in steps)


def _by_place(found: Found, one: Inspection) -> Iterator[str]:
    """How long each head keeps what is stored: of states that have heads, or another first axis."""
    for state in one.retention.keeping:
        axis = first_axis(one.retention.lengths.get(state, {}))
        if not axis:
            continue
        tau = one.retention.along(axis).time_constant(state)
        shown = np.argsort(-tau, kind="stable")[:MOST_PLACES]
        name = full_name(found, one, state)
        yield paragraph(f"By {axis}, the longest first:")
        yield table((f"{axis} of {name}", "τ"), [(str(k), _steps(tau[k])) for k in shown])
        if len(shown) < len(tau):
            words = f"The {len(shown)} of {len(tau)} that keep longest."
            yield paragraph(words, quiet=True)


def _steps(tau: float) -> str:
    return "never forgets" if np.isinf(tau) else f"{tau:.3g} steps"


MEMORY = Section(
    "How far back it remembers",
    (
        Part(_horizons, HORIZON, ("horizon",)),
        Part(_flows, _flow_words, ("flow",)),
        Part(_radii, RADIUS, ("flow",)),
        Part(_retentions, RETENTION, ("retention",)),
    ),
)
