"""What the lens found in trained models, as one page to read and to pass on.

Every section says first in plain words what was found, then shows the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gatework.analysis.gates import keepers
from gatework.data import InputError
from gatework.lens.flow import GradientFlow
from gatework.lens.horizon import MemoryHorizon
from gatework.lens.plots import draw_flows, draw_horizons, draw_retentions, draw_saturation
from gatework.printable import identifier
from gatework.reports.held_out import FAR_LAG
from gatework.reports.inspection import FLOW_STEPS, LEAST_TRACKED, Inspection, occurring
from gatework.reports.learning import draw_learning_curves
from gatework.reports.page import (
    bright_text,
    escape,
    figure,
    page,
    paragraph,
    preformatted,
    section,
    table,
)
from gatework.reports.passages import COLUMNS, draw_passage
from gatework.show import cell_svg
from gatework.show.explanation import explain

__all__ = ["inspection_page"]

MOST_LISTED = 8
VERDICTS = {"vanishing": "vanishes", "healthy": "arrives", "exploding": "explodes"}
GATES = (
    f"{COLUMNS} A gate near 1 is open and bright, near 0 closed and dark. A "
    "state is red above zero and blue below."
)
PICTURE = (
    "One step, from the state and input at the left to the new state at the right. A gate is a "
    "value between 0 and 1 that multiplies something. The thick line is the memory's path: what "
    "travels on it is changed by arithmetic alone, so that it can last."
)
HORIZON = (
    "Influence is how much the network's output would change if the byte read k steps earlier were "
    "a little different, as a share of the largest; the axis is logarithmic. What has no influence "
    "any more is forgotten."
)
FLOW = (
    f"Learning goes the other way: from an error after the last step back over {FLOW_STEPS} steps "
    "to what caused it. The curves show how much of the gradient arrives at each state. The growth "
    "rate is by what factor it changes with each step back. Where the gradient falls to a "
    "thousandth within a hundred steps, it vanishes: what is far back can hardly be learned from."
)
RADIUS = (
    "The spectral radius is the largest |eigenvalue| of the recurrent Jacobian ∂sₜ/∂sₜ₋₁ of all "
    "states of a layer together, on average over some steps of the text: the factor of the one "
    "direction that lasts longest in that step. Near 1 something can last; how much of the "
    "gradient does, the growth rates tell."
)
RETENTION = (
    "How much of a value that a unit stores is still there k steps later, through no matrix: the "
    "product of the gates that multiply it. The line is the median unit, the band the middle 80 %. "
    "The time constant is the number of steps in which a stored value falls to a third (1/e)."
)
SATURATION = (
    "Each dot is a unit: how often its gate is all but closed (below 0.1, to the right) and all "
    "but open (above 0.9, to the top). A dot at the top left is a gate that is always open, one at "
    "the bottom left is used gradually, on the diagonal as a switch."
)
HELD = (
    "What a byte of held-out text costs when a gate is held at one value for all units. The more "
    "it costs, the more depends on that gate."
)
UNITS = (
    "A correlation r of 1 or −1 means that the unit follows the property exactly, 0 that it knows "
    "nothing of it. Units are chosen on one half of the text and judged on the other, held-out "
    "half. The probe reads all units of a state at once: its R² is the share of the property's "
    "variance that it can tell on held-out text."
)


def inspection_page(found: Sequence[Inspection]) -> str:
    """Return the page on one trained model, or on several side by side.

    Raises:
        InputError: there is none.
    """
    if not found:
        raise InputError("no runs", "at least one", "name a run folder")
    names = ", ".join(_title(one) for one in found)
    sections = [
        section("In short", *_summary(found)),
        section("The text and the gates under it", paragraph(GATES), *map(_passage, found)),
        section("How far back it remembers", *_memory(found)),
        section("How the gates are used", *_gates(found)),
        section("What single units have learned", *_units(found)),
        section("How it learned", *_learning(found)),
        section("What a step computes", paragraph(PICTURE), *_cells(found)),
        section("How it was measured", *_method(found)),
    ]
    lead = f"What {names} learned from {found[0].corpus.name}, seen from inside."
    return page(f"Inside {', '.join(one.name for one in found)}", lead, sections)


def _title(one: Inspection) -> str:
    config = one.run.config
    layers = f"{config.layers} layers of " if config.layers > 1 else ""
    cell = f"{config.cell}, " if one.name != config.cell else ""
    return f"{one.name} ({cell}{layers}{config.hidden_size} units)"


def _several(found: Sequence[Inspection], one: Inspection) -> str:
    """The name of a model, to be said where there are several."""
    return one.name if len(found) > 1 else ""


def _short(one: Inspection, value: str) -> str:
    """A value's full name, such as "layer.l0.c", without what is the same for all."""
    short = value.removeprefix("layer.")
    return short.removeprefix("l0.") if one.run.config.layers == 1 else short


# ---- in short ----------------------------------------------------------------------------------


def _summary(found: Sequence[Inspection]) -> Iterator[str]:
    header = ("", "bits per byte", "feels 1 % back to", f"left at {FAR_LAG}", "gradient")
    rows = [
        (
            one.name,
            f"{one.bits:.3f}",
            f"{_reach(one.horizon)} bytes",
            _left(one.horizon),
            _verdict(one.flow),
        )
        for one in found
    ]
    yield table(header, rows)
    for one in found:
        yield paragraph(_in_words(one))


def _in_words(one: Inspection) -> str:
    words = [
        f"{one.name} pays {one.bits:.2f} bits for each byte of text that it has never seen: 8 is "
        "what chance pays, 0 certainty.",
        f"A byte that it has read still has 1 % of the strongest influence "
        f"{_reach(one.horizon)} bytes later.",
    ]
    if one.tracking:
        told = [_tracks(one, name, unit) for name, unit in one.tracking.items()]
        words.append(f"Among its units, {'; '.join(told)}.")
    else:
        words.append("No single unit follows one of the properties looked for.")
    return " ".join(words)


def _tracks(one: Inspection, name: str, unit: tuple[str, int, float, float]) -> str:
    value, number, _, held_out = unit
    strength = next(
        word
        for least, word in ((0.7, "closely follows"), (0.5, "follows"), (0.0, "goes along with"))
        if abs(held_out) >= least
    )
    opposite = ", the lower the more" if held_out < 0 else ""
    return (
        f"number {number} of {_short(one, value)} {strength} “{name}”{opposite} "
        f"(r = {held_out:.2f} on held-out text)"
    )


def _reach(horizon: MemoryHorizon) -> str:
    reach, farthest = horizon.reach(0.01), int(horizon.lags[-1])
    return f"{reach}" if reach <= farthest else f"more than {farthest}"


def _left(horizon: MemoryHorizon) -> str:
    """The influence that is left at `FAR_LAG`, where the text was long enough to look so far."""
    mean = horizon.mean()
    return f"{mean[FAR_LAG]:.0e}" if len(mean) > FAR_LAG else "–"


def _verdict(flow: GradientFlow) -> str:
    """The best of the states' verdicts: it is enough that one path is open."""
    verdicts = {flow.verdict(state) for state in flow.norms}
    order = ("exploding", "healthy", "vanishing")
    return next(v for v in order if v in verdicts)


# ---- sections ----------------------------------------------------------------------------------


def _passage(one: Inspection) -> str:
    passage = one.passage
    panels = ", ".join([*passage.gates, *passage.states])
    means = [f"{name} is {values.mean():.0%} open" for name, values in passage.gates.items()]
    alt = f"{panels} over “{passage.text}”; {', '.join(means) or 'no gates'} on average"
    caption = (
        f"{_title(one)}: {panels} of the {len(passage.units)} units that change most over the "
        "passage; the number of the unit stands at the left."
    )
    drawing = draw_passage(passage, f"passage-{identifier(one.name)}").in_page
    return figure(drawing, alt, caption, wide=True)


def _memory(found: Sequence[Inspection]) -> Iterator[str]:
    horizons = {one.name: one.horizon for one in found}
    told = " ".join(f"{n} falls below 1 % after {_reach(h)} bytes." for n, h in horizons.items())
    caption = "Influence of the byte k steps back: mean and 95 % band over places of held-out text."
    yield paragraph(HORIZON)
    yield figure(draw_horizons(horizons).in_page, told, caption)
    yield paragraph(FLOW)
    flows = {_several(found, one): one.flow for one in found}
    told = "; ".join(
        f"{one.name} {_short(one, s)}: growth {one.flow.growth(s):.3f} a step"
        for one in found
        for s in one.flow.norms
    )
    yield figure(draw_flows(flows).in_page, told, "Norm of the gradient at each state.")
    header = ("state", "growth rate", "the gradient")
    yield table(header, [row for one in found for row in _flow_rows(found, one)])
    yield paragraph(RADIUS)
    yield table(("layer", "spectral radius"), [row for one in found for row in _radii(found, one)])
    yield paragraph(RETENTION)
    yield from _kept(found)


def _kept(found: Sequence[Inspection]) -> Iterator[str]:
    """What is left of stored values: of the states that store any."""
    kept = {_several(found, one): one.retention for one in found if one.retention.keeping}
    if kept:
        drawing = draw_retentions(kept).in_page
        yield figure(drawing, "Share left against steps.", "What is left of it.")
        header = ("state", "median τ", "longest-lived tenth", "longest τ")
        yield table(header, [row for one in found for row in _retention_rows(found, one)])
    anew = [
        f"{_several(found, one)} {_short(one, state)}".strip()
        for one in found
        for state in one.retention.mean
        if state not in one.retention.keeping
    ]
    if anew:
        yield paragraph(
            f"Written anew at every step, so that nothing is stored: {', '.join(anew)}."
        )


def _flow_rows(found: Sequence[Inspection], one: Inspection) -> Iterator[tuple[str, ...]]:
    for state in one.flow.norms:
        name = f"{_several(found, one)} {_short(one, state)}".strip()
        yield name, f"{one.flow.growth(state):.3f}", VERDICTS[one.flow.verdict(state)]


def _radii(found: Sequence[Inspection], one: Inspection) -> Iterator[tuple[str, ...]]:
    for k, radius in enumerate(one.flow.spectral_radius.values()):
        layer = f"layer {k}" if one.run.config.layers > 1 or len(found) == 1 else ""
        yield f"{_several(found, one)} {layer}".strip(), f"{radius.mean():.2f}"


def _retention_rows(found: Sequence[Inspection], one: Inspection) -> Iterator[tuple[str, ...]]:
    for state in one.retention.keeping:
        tau = one.retention.time_constant(state)
        name = f"{_several(found, one)} {_short(one, state)}".strip()
        yield name, *(f"{_steps(t)}" for t in (np.median(tau), np.quantile(tau, 0.9), tau.max()))


def _steps(tau: float) -> str:
    return "never forgets" if np.isinf(tau) else f"{tau:.3g} steps"


def _gates(found: Sequence[Inspection]) -> Iterator[str]:
    yield paragraph(SATURATION)
    for one in found:
        if not one.saturation.gates:
            yield paragraph(f"{one.name} has no gates: its state is written anew at every step.")
            continue
        alt = f"Saturation of the gates of {one.name}; the table below has the means."
        drawing = draw_saturation(one.saturation)
        yield figure(_named(drawing.in_page, one), alt, f"{_title(one)}.")
        header = ("gate", "mean", "all but closed", "all but open", "units always open")
        yield table(header, list(_gate_rows(one)))
        if one.ablation is not None:
            yield paragraph(HELD)
            yield table(("gate", "held closed, 0", "as it is", "held open, 1"), _held_rows(one))
        dead = {
            _short(one, n): len(units) for n, units in one.saturation.dead().items() if len(units)
        }
        if dead:
            told = ", ".join(f"{count} of {name}" for name, count in dead.items())
            yield paragraph(f"Units that never move: {told}.")


def _named(svg: str, one: Inspection) -> str:
    """A drawing whose ids are unlike those of the same drawing of another model."""
    return svg.replace("saturation-", f"saturation-{identifier(one.name)}-")


def _gate_rows(one: Inspection) -> Iterator[tuple[str, ...]]:
    keeping = {k.name for gates in keepers(one.run.load_model().layer.cell).values() for k in gates}
    opened = one.saturation.always_open()
    for gate in one.saturation.gates:
        name = _short(one, gate)
        memory = " (keeps the memory)" if name.rpartition(".")[2] in keeping else ""
        yield (
            name + memory,
            f"{one.saturation.mean[gate].mean():.2f}",
            f"{one.saturation.left[gate].mean():.0%}",
            f"{one.saturation.right[gate].mean():.0%}",
            f"{len(opened[gate])}",
        )


def _held_rows(one: Inspection) -> list[tuple[str, ...]]:
    assert one.ablation is not None
    cost = dict(zip(one.ablation.changes, one.ablation.metric, strict=True))
    as_is = f"{one.ablation.baseline:.2f} bits"
    return [
        (_short(one, g), f"{cost[f'{g} = 0']:.2f} bits", as_is, f"{cost[f'{g} = 1']:.2f} bits")
        for g in one.saturation.gates
    ]


def _units(found: Sequence[Inspection]) -> Iterator[str]:
    yield paragraph(UNITS)
    header = ("property", "best unit", "r chosen on", "r held out", "probe R², held out")
    for one in found:
        if len(found) > 1:
            yield f"<h3>{escape(_title(one))}</h3>\n"
        yield table(header, list(_unit_rows(one)))
        if missing := [name for name in one.units.properties if name not in occurring(one.units)]:
            yield paragraph(f"Does not occur in this text: {', '.join(missing)}.", quiet=True)
        yield from _passages(one)


def _unit_rows(one: Inspection) -> Iterator[tuple[str, ...]]:
    for name in occurring(one.units):
        k = one.units.properties.index(name)
        best = one.units.best(name, 1)[0]
        probe = max(scores[k] for scores in one.units.probe.values())
        unit = f"{best.unit} of {_short(one, best.value)}"
        yield name, unit, f"{best.correlation:.2f}", f"{best.held_out:.2f}", f"{probe:.2f}"


def _passages(one: Inspection) -> Iterator[str]:
    """Where the units that track something are most active."""
    if one.peaks is None:
        yield paragraph(
            f"No unit follows one of them with |r| of {LEAST_TRACKED:g} or more on held-out text."
        )
        return
    for k, (name, unit) in enumerate(list(one.tracking.items())[: len(one.peaks.units)]):
        words = (
            f"Unit {unit.unit} of {_short(one, unit.value)}, which goes with “{name}”, is most "
            "active here. Green is above zero, red below; the frame marks the peak."
        )
        yield paragraph(words)
        for rank in range(one.peaks.activation.shape[1]):
            shown = one.peaks.symbols[k, rank] >= 0
            if shown.any():
                peak = one.peaks.before - int(np.argmax(shown))
                around = one.peaks.around[k, rank][shown]
                yield bright_text(one.peak_passage(k, rank), around, peak)


def _learning(found: Sequence[Inspection]) -> Iterator[str]:
    curves = {one.name: one.records for one in found}
    told = " ".join(
        f"{one.name} ends at {one.records[-1].bits_per_byte:.3f}." for one in found if one.records
    )
    drawing = draw_learning_curves(curves).in_page
    yield figure(drawing, told or "No figures.", "Cost of held-out text in the course of training.")


def _cells(found: Sequence[Inspection]) -> Iterator[str]:
    cells = {one.run.config.cell: one.run.load_model().layer.eval_cell for one in found}
    for name, cell in cells.items():
        explained = explain(cell)
        yield figure(cell_svg(cell), "; ".join(explained.equations), explained.title, cell=True)
        yield preformatted("\n".join(explained.equations))
        yield paragraph(f"W stands for the learned matrices of {name}.", quiet=True)


def _method(found: Sequence[Inspection]) -> Iterator[str]:
    first = found[0]
    words = (
        f"Saturation, retention and units: {first.saturation.steps:,} bytes of held-out text, the "
        f"state carried on; units are judged on {first.units.held_out_steps:,} of them. Horizon: "
        f"{len(first.horizon.influence)} places. Gradient: a random weighting of the scores after "
        f"{FLOW_STEPS} steps, {len(next(iter(first.flow.norms.values())))} sequences. The same "
        "figures in Python: gatework.lens."
    )
    yield paragraph(words)
    rows: Mapping[str, object] = {
        "text": first.corpus.name,
        "sha256 of the text": first.corpus.sha256[:16],
        **first.run.manifest.versions,
    }
    yield table(("", ""), [(name, str(value)) for name, value in rows.items()])
    for one in found:
        settings = one.run.config.model_dump(mode="json", exclude_none=True, exclude={"files"})
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
        yield paragraph(
            f"{one.name}: {one.run.manifest.parameters:,} parameters; {told}.", quiet=True
        )
