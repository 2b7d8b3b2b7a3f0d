"""What single units have learned: which property each follows, and where it is most active."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatework.lens.units import MOST_PROBED
from gatework.reports.inspection import LEAST_TRACKED, Inspection, occurring
from gatework.reports.page import bright_text, escape, paragraph, table
from gatework.reports.sections.section import Found, Part, Section, named_unit, title

__all__ = ["UNITS"]

WORDS = (
    "A correlation r of 1 or −1 means that the unit follows the property exactly, 0 that it knows "
    "nothing of it. Units are chosen on one half of the text and judged on the other, held-out "
    "half. The probe reads all units of a state at once, or of the output where a state has more "
    f"than {MOST_PROBED:,}: its R² is the share of the property's variance that it can tell on "
    "held-out text."
)


def _units(found: Found) -> Iterator[str]:
    header = ("property", "best unit", "r chosen on", "r held out", "probe R²")
    for one in found:
        if len(found) > 1:
            yield f"<h3>{escape(title(one))}</h3>\n"
        yield table(header, list(_unit_rows(one)))
        if missing := [name for name in one.units.properties if name not in occurring(one.units)]:
            yield paragraph(f"Does not occur in this text: {', '.join(missing)}.", quiet=True)
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
            f"No unit follows one of them with |r| of {LEAST_TRACKED:g} or more on held-out text."
        )
        return
    for k, (name, unit) in enumerate(list(one.tracking.items())[: len(one.peaks.units)]):
        named = named_unit(one, unit.value, unit.unit).removeprefix("number ")
        words = (
            f"Unit {named}, which goes with “{name}”, is most "
            "active here. Green is above zero, red below; the frame marks the peak."
        )
        yield paragraph(words)
        for rank in range(one.peaks.activation.shape[1]):
            shown = one.peaks.symbols[k, rank] >= 0
            if shown.any():
                peak = one.peaks.before - int(np.argmax(shown))
                around = one.peaks.around[k, rank][shown]
                yield bright_text(one.peak_passage(k, rank), around, peak)


UNITS = Section("What single units have learned", (Part(_units, WORDS, ("units", "peaks")),))
