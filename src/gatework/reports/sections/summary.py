"""In short: what was found, in a table and in words."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.lens import GradientFlow, TrackingUnit
from gatework.reports.held_out import FAR_LAG
from gatework.reports.inspection import Inspection
from gatework.reports.page import paragraph, table
from gatework.reports.sections.memory import reach, reads_backward
from gatework.reports.sections.section import Found, Part, Section, named_unit

__all__ = ["SUMMARY"]


def _summary(found: Found) -> Iterator[str]:
    units = dict.fromkeys(one.subject.unit for one in found if one.subject.unit)
    far = min(FAR_LAG, *(int(one.horizon.lags[-1]) for one in found))
    header = ("", *units, "feels 1 % back to", f"left at {far}", "gradient")
    rows = [
        (
            one.name,
            *(f"{one.cost:.3f}" if one.subject.unit == unit else "" for unit in units),
            f"{reach(one.horizon)} steps",
            f"{one.horizon.mean()[far]:.0e}",
            _verdict(one.flow),
        )
        for one in found
    ]
    yield table(header, rows)
    for one in found:
        yield from _figures(one)
        yield paragraph(_in_words(one))


def _figures(one: Inspection) -> Iterator[str]:
    """What people quote beside what needs no model, unless it is the cost in other words."""
    figures, naive = one.evaluation.figures, one.evaluation.naive
    if figures and one.subject.unit not in figures:
        header = (f"{one.name}, held out", *figures)
        rows = [("this model", figures), ("without a model", naive)]
        told = [(name, *(_figure(values.get(f)) for f in figures)) for name, values in rows]
        yield table(header, told)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _in_words(one: Inspection) -> str:
    words = []
    if one.subject.unit:
        words.append(
            f"On data that it has never seen {one.name} pays {one.cost:.3g} {one.subject.unit}: "
            f"{one.subject.meaning}."
        )
    words.append(
        f"What it has read still has 1 % of the strongest influence {reach(one.horizon)} steps "
        "later."
    )
    if one.tracking:
        told = [_tracks(one, name, unit) for name, unit in one.tracking.items()]
        words.append(f"Among its units, {'; '.join(told)}.")
    else:
        words.append("No single unit follows one of the properties looked for.")
    return " ".join(words)


def _tracks(one: Inspection, name: str, unit: TrackingUnit) -> str:
    value, number, _, held_out = unit
    strength = next(
        word
        for least, word in ((0.7, "closely follows"), (0.5, "follows"), (0.0, "goes along with"))
        if abs(held_out) >= least
    )
    opposite = ", the lower the more" if held_out < 0 else ""
    return (
        f"{named_unit(one, value, number)} {strength} “{name}”{opposite} "
        f"(r = {held_out:.2f} on held-out data)"
    )


def _verdict(flow: GradientFlow) -> str:
    """The best of the states' verdicts: it is enough that one path is open."""
    verdicts = {flow.verdict(state) for state in flow.norms if not reads_backward(state)}
    order = ("exploding", "healthy", "vanishing")
    return next(v for v in order if v in verdicts)


SUMMARY = Section("In short", (Part(_summary),))
