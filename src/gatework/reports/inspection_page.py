"""What the lens found in trained models, as one page to read and to pass on.

Every section says first in plain words what was found, then shows the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatework.errors import InputError
from gatework.reports.inspection import Inspection
from gatework.reports.page import page
from gatework.reports.sections import SECTIONS
from gatework.reports.sections.section import title

__all__ = ["inspection_page"]


def inspection_page(found: Sequence[Inspection]) -> str:
    """Return the page on one trained model, or on several side by side.

    Raises:
        InputError: there is none.
    """
    if not found:
        raise InputError("no runs", "at least one", "name a run folder")
    names = ", ".join(title(one) for one in found)
    first = found[0].subject
    lead = f"What {names} {first.verb} {first.source}, seen from inside."
    sections = [section.html(found) for section in SECTIONS]
    return page(f"Inside {', '.join(one.name for one in found)}", lead, sections)
