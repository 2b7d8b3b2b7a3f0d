"""How it was measured: sizes, settings, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatework.reports.page import paragraph, table
from gatework.reports.sections.section import Found, Part, Section

__all__ = ["METHOD"]


def _method(found: Found) -> Iterator[str]:
    first = found[0]
    words = (
        f"Saturation, retention and units: {first.saturation.steps:,} steps of held-out data, the "
        f"state carried on; units are judged on {first.units.held_out_steps:,} of them. Horizon: "
        f"{len(first.horizon.influence)} places. Gradient: a random weighting of the scores after "
        f"{first.flow_steps} steps, {len(next(iter(first.flow.norms.values())))} sequences. The "
        "same figures in Python: gatework.lens."
    )
    yield paragraph(words)
    rows: Mapping[str, object] = {
        "data": first.subject.source,
        **first.subject.origin,
    }
    yield table(("", ""), [(name, str(value)) for name, value in rows.items()])
    for one in found:
        yield paragraph(f"{one.name}: {one.subject.told}.", quiet=True)


METHOD = Section("How it was measured", (Part(_method),))
