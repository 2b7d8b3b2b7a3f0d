"""What a comparison says: a page to read and to pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatework.lens import Passage
from gatework.lens.plots import draw_horizons
from gatework.reports.comparison import REACH_SHARES, Contender
from gatework.reports.learning import cost_in_words, draw_learning_curves
from gatework.reports.page import figure, page, paragraph, section, settings_table, table
from gatework.reports.passages import columns_in_words, draw_passage, rows_in_words
from gatework.tasks import Source, Task
from gatework.train.config import RunConfig
from gatework.train.records import Record

__all__ = ["comparison_page", "reach_text", "summary"]

INFLUENCE = (
    "Influence is how much the network's state would change if what was read k steps earlier "
    "were a little different: the mean norm of ∂hₜ/∂xₜ₋ₖ, taken by back-propagation from "
    "many places of the held-out data, as a share of the influence of the newest step (k = 0). "
    "The axis is logarithmic: each mark down is a tenth. What has no influence any more is "
    "forgotten; and no error can be traced back to it, so nothing can be learned from it either."
)


def comparison_page(contenders: Sequence[Contender], task: Task, source: Source) -> str:
    """Return the report of a comparison."""
    names = [contender.config.cell for contender in contenders]
    lead = (
        f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    ) + f" with about {round(contenders[0].parameters, -3):,} parameters each, on {source.name}."
    curves = {contender.config.cell: contender.validations for contender in contenders}
    sections = [
        section("In short", _summary(contenders)),
        section("How far back each remembers", *_memory(contenders)),
        section("How they learn", *_learning(curves, task)),
        section("What the gates do", *_gates(contenders)),
        section("How it was measured", *_method(contenders, task, source)),
    ]
    return page("How far back does a recurrent network remember?", lead, sections)


def reach_text(contender: Contender, share: float) -> str:
    """Return the reach in steps with its band, as people write it."""
    low, high = contender.horizon.reach_band(share)
    reach = contender.horizon.reach(share)
    last = int(contender.horizon.lags[-1])
    if low == high or reach > last:
        return _lag(reach, last)
    return f"{_lag(reach, last)} ({_lag(low, last)}–{_lag(high, last)})"


def summary(contenders: Sequence[Contender]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the figures of each cell as a table's header and rows."""
    first = contenders[0]
    headline = list(first.figures)[:1]
    above = [f"above {100 * share:g} %" for share in REACH_SHARES]
    left = f"left at {first.far_lag}"
    header = ("cell", "units", "parameters", first.unit, *headline, *above, left)
    rows = [
        (
            contender.config.cell,
            f"{contender.config.hidden_size:,}",
            f"{contender.parameters:,}",
            f"{contender.cost:.3f}",
            *(f"{contender.figures[name]:.4g}" for name in headline),
            *(reach_text(contender, share) for share in REACH_SHARES),
            f"{contender.far_influence:.0e}",
        )
        for contender in contenders
    ]
    return header, rows


def _summary(contenders: Sequence[Contender]) -> str:
    words = (
        f"The cost is told in {contenders[0].unit}; less is better. The last columns: for how many "
        "steps back the influence of an input stays above a share of that of the newest one, with "
        f"the 95 % band; and what share is left {contenders[0].far_lag} steps back."
    )
    return table(*summary(contenders)) + paragraph(words, quiet=True) + _figures(contenders)


def _figures(contenders: Sequence[Contender]) -> str:
    """What people quote, of all cells and of what needs no model."""
    names = list(contenders[0].figures)
    if not names:
        return ""
    told = {c.config.cell: c.figures for c in contenders}
    told["without a model"] = contenders[0].naive
    rows = [
        (cell, *(f"{own[name]:.4g}" if name in own else "" for name in names))
        for cell, own in told.items()
    ]
    return table(("held out", *names), rows)


def _memory(contenders: Sequence[Contender]) -> list[str]:
    horizons = {contender.config.cell: contender.horizon for contender in contenders}
    alt = "Influence against lag. " + " ".join(
        f"{c.config.cell} falls below 1 % after {reach_text(c, 0.01)} steps "
        f"and has {c.far_influence:.0e} left at {c.far_lag}."
        for c in contenders
    )
    caption = (
        f"Influence of the step k steps back, mean and 95 % band over "
        f"{len(contenders[0].horizon.influence)} places of the held-out data."
    )
    drawing = draw_horizons(horizons, f"{contenders[0].step}s").in_page
    return [paragraph(INFLUENCE), figure(drawing, alt, caption)]


def _learning(curves: Mapping[str, Sequence[Record]], task: Task) -> list[str]:
    alt = f"{task.unit} against {task.counted} learned from. " + " ".join(
        f"{name} ends at {records[-1].cost:.3f}." for name, records in curves.items() if records
    )
    svg = draw_learning_curves(curves, task.unit, task.counted).in_page
    caption = "Cost of held-out data in the course of training."
    return [paragraph(cost_in_words(task)), figure(svg, alt, caption)]


def _gates(contenders: Sequence[Contender]) -> list[str]:
    words = (
        f"{columns_in_words(contenders[0].step)} A gate near 1 is open, near 0 closed. In an LSTM "
        "the input gate i lets the new in, the forget gate f keeps the old, the output gate o "
        "gives it out, and c is what is kept. In a GRU the update gate z keeps the old and the "
        "reset gate r decides how much of it the new may see. A vanilla RNN has no gate: all of "
        "its state h is overwritten with every step."
    )
    maps = (
        _gate_map(contender, passage, direction)
        for contender in contenders
        for direction, passage in contender.passage.directions.items()
    )
    return [paragraph(words), *maps]


def _gate_map(contender: Contender, passage: Passage, direction: str) -> str:
    cell = " ".join(filter(None, [contender.config.cell, direction]))
    track, first = contender.passage.track, contender.passage.first
    panels = ", ".join([*passage.gates, *passage.states])
    units = ", ".join(map(str, passage.units))
    alt = f"{cell}: {panels} of {passage.axis or 'unit'}s {units}, {_activity(passage)}"
    of = f"{cell}{', ' * bool(track.name)}{track.name}"
    drawing = draw_passage(passage, f"passage-{cell}", track, first).in_page
    text = bool(passage.characters)
    caption = f"{of}: {panels} {rows_in_words(passage)}"
    return figure(drawing, alt, caption, wide=text, whole=not text)


def _activity(passage: Passage) -> str:
    """Say in words what can be said of a heat map: how open each gate is on average."""
    means = [f"{name} is {values.mean():.0%} open" for name, values in passage.gates.items()]
    return (", ".join(means) or "no gates") + " on average."


def _method(contenders: Sequence[Contender], task: Task, source: Source) -> list[str]:
    config = contenders[0].config
    last = contenders[0].validations[-1]
    words = (
        f"All learned from the same {last.seen:,} {task.counted} in the same order, in "
        f"{last.step:,} training steps of {config.batch_size} sequences side by side"
        f"{_carried(task, config)}, with AdamW and one schedule whose peak is "
        f"{_rates(contenders)}, from torch's own initial weights, and with hidden sizes chosen so "
        "that the models have equally many parameters. The norm is the Frobenius norm of the "
        "Jacobian with respect to what the first layer reads, estimated with random sign vectors "
        f"from 0 to {contenders[0].horizon.lags[-1]} steps back; its band is a bootstrap "
        "over places of the data."
    )
    own = ("cell", "hidden_size", "learning_rate")
    settings = {name: value for name, value in config.shown().items() if name not in own}
    notes = [paragraph(note, quiet=True) for note in source.notes]
    checksum = {"sha256 of the data": source.sha256[:16]}
    return [paragraph(words), *notes, settings_table({**settings, **checksum})]


def _carried(task: Task, config: RunConfig) -> str:
    if not task.carries:
        return ""
    return f" × {config.window} {task.counted} (truncated back-propagation with carried state)"


def _rates(contenders: Sequence[Contender]) -> str:
    return ", ".join(f"{c.config.peak_rate:g} for {c.config.cell}" for c in contenders)


def _lag(reach: int, last: int) -> str:
    return f"{reach}" if reach <= last else f">{last}"
