"""What single units have learned: which property each follows, and where it is most active."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatework.lens.units import MOST_PROBED
from gatework.printable import identifier
from gatework.reports.curves import Peak, draw_peaks
from gatework.reports.inspection import LEAST_TRACKED, Inspection, occurring
from gatework.reports.page import bright_text, escape, figure, paragraph, table
from gatework.reports.sections.section import Found, Part, Section, named_unit, title

__all__ = ["UNITS"]

WORDS = (
    "A correlation r of 1 or −1 means that the unit follows the property exactly, 0 that it knows "
    "nothing of it. Units are chosen on one half of the data and judged on the other, held-out "
    "half. The probe reads all units of a state at once, or of the output where a state has more "
    f"than {MOST_PROBED:,}: its R² is the share of the property's variance that it can tell on "
    "held-out data."
)
MOST_PROPERTIES = 24
"""Properties that a table lists."""


def _units(found: Found) -> Iterator[str]:
    header = ("property", "best unit", "r chosen on", "r held out", "probe R²")
    for one in found:
        if len(found) > 1:
            yield f"<h3>{escape(title(one))}</h3>\n"
        rows = sorted(_unit_rows(one), key=lambda row: row[3] == "–")
        yield table(header, rows[:MOST_PROPERTIES])
        if len(rows) > MOST_PROPERTIES:
            yield paragraph(f"The first {MOST_PROPERTIES} of {len(rows)} properties.", quiet=True)
        if missing := [name for name in one.units.properties if name not in occurring(one.units)]:
            what = (
                "in this text" if one.passage.forward.characters else "here, or is always the same"
            )
            yield paragraph(f"Does not occur {what}: {', '.join(missing)}.", quiet=True)
        yield from _passages(one)


def _unit_rows(one: Inspection) -> Iterator[tuple[str, ...]]:
    for name in occurring(one.units):
        k = one.units.properties.index(name)
        best = one.units.best(name, 1)[0]
        probe = max((scores[k] for scores in one.units.probe.values()), default=np.nan)
        unit = named_unit(one, best.value, best.unit).removeprefix("number ")
        found = best.correlation, best.held_out, probe
        yield name, unit, *("–" if np.isnan(r) else f"{r:.2f}" for r in found)


def _passages(one: Inspection) -> Iterator[str]:
    """Where the units that track something are most active."""
    if one.peaks is None:
        yield paragraph(
            f"No unit follows one of them with |r| of {LEAST_TRACKED:g} or more on held-out data."
        )
        return
    for k, (name, unit) in enumerate(one.tracking.items()):
        named = named_unit(one, unit.value, unit.unit).removeprefix("number ")
        opening = f"Unit {named}, which goes with “{name}”, is most active here."
        if one.passage.forward.characters:
            yield paragraph(f"{opening} Green is above zero, red below; the frame marks the peak.")
            yield from _texts(one, k)
        else:
            yield paragraph(f"{opening} Above it a curve of what is read; the line marks the peak.")
            yield _curves(one, k, named, name)


def _texts(one: Inspection, unit: int) -> Iterator[str]:
    """The passages of a text on which a unit is most active."""
    for peak in _peaks(one, unit):
        yield bright_text(peak.track.characters, peak.around.tolist(), peak.peak)


def _curves(one: Inspection, unit: int, named: str, follows: str) -> str:
    """The passages of curves on which a unit is most active."""
    peaks = list(_peaks(one, unit))
    name = f"peaks-{identifier(one.name)}-{unit}"
    drawing = draw_peaks(peaks, name, follows.removeprefix("change of ")).in_page
    alt = f"Unit {named}, at its peaks: {'; '.join(peak.title for peak in peaks)}"
    return figure(drawing, alt, f"Unit {named}, which goes with “{follows}”.", whole=True)


def _peaks(one: Inspection, unit: int) -> Iterator[Peak]:
    assert one.peaks is not None
    for rank in range(one.peaks.activation.shape[1]):
        track = one.peak_track(unit, rank)
        if track is not None:
            around = one.peaks.around[unit, rank]
            shown = ~np.isnan(around)
            yield Peak(track, around[shown], one.peaks.before - int(np.argmax(shown)))


UNITS = Section("What single units have learned", (Part(_units, WORDS, ("units", "peaks")),))
