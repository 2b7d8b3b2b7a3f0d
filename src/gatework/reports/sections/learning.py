"""How it learned: the learning curve."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.reports.learning import draw_learning_curves
from gatework.reports.page import figure
from gatework.reports.sections.section import Found, Part, Section

__all__ = ["LEARNING"]


def _curves(found: Found) -> Iterator[str]:
    for unit in dict.fromkeys(one.subject.unit for one in found if one.subject.records):
        some = [one for one in found if one.subject.unit == unit]
        curves = {one.name: one.subject.records for one in some}
        drawing = draw_learning_curves(curves, unit, some[0].subject.counted)
        told = " ".join(f"{n} ends at {r[-1].cost:.3f}." for n, r in curves.items() if r)
        caption = "Cost of held-out data in the course of training."
        yield figure(drawing.in_page, told or "No figures.", caption)


LEARNING = Section("How it learned", (Part(_curves),))
