"""In short: what was found, in a table and in words."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.lens import GradientFlow, MemoryHorizon, TrackingUnit
from gatework.reports.held_out import FAR_LAG
from gatework.reports.inspection import Inspection
from gatework.reports.page import paragraph, table
from gatework.reports.sections.memory import reach
from gatework.reports.sections.section import Found, Part, Section, named_unit

__all__ = ["SUMMARY"]


def _summary(found: Found) -> Iterator[str]:
    header = ("", found[0].task.unit, "feels 1 % back to", f"left at {FAR_LAG}", "gradient")
    rows = [
        (
            one.name,
            f"{one.cost:.3f}",
            f"{reach(one.horizon)} steps",
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
        f"On data that it has never seen {one.name} pays {one.cost:.2f} {one.task.unit}: "
        f"{one.task.meaning}.",
        f"What it has read still has 1 % of the strongest influence {reach(one.horizon)} steps "
        "later.",
    ]
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
        f"(r = {held_out:.2f} on held-out text)"
    )


def _left(horizon: MemoryHorizon) -> str:
    """The influence that is left at `FAR_LAG`, where the text was long enough to look so far."""
    mean = horizon.mean()
    return f"{mean[FAR_LAG]:.0e}" if len(mean) > FAR_LAG else "–"


def _verdict(flow: GradientFlow) -> str:
    """The best of the states' verdicts: it is enough that one path is open."""
    verdicts = {flow.verdict(state) for state in flow.norms}
    order = ("exploding", "healthy", "vanishing")
    return next(v for v in order if v in verdicts)


SUMMARY = Section("In short", (Part(_summary),))
