"""How it learned: the learning curve."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.reports.learning import draw_learning_curves
from gatework.reports.page import figure
from gatework.reports.sections.section import Found, Part, Section

__all__ = ["LEARNING"]


def _curves(found: Found) -> Iterator[str]:
    told = " ".join(
        f"{one.name} ends at {one.records[-1].cost:.3f}." for one in found if one.records
    )
    drawing = draw_learning_curves(
        {one.name: one.records for one in found}, found[0].task.unit, found[0].task.counted
    ).in_page
    yield figure(drawing, told or "No figures.", "Cost of held-out data in the course of training.")


LEARNING = Section("How it learned", (Part(_curves),))
