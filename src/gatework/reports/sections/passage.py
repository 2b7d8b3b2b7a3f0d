"""The data and the gates under it: what gates and states of a few units do, step by step."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.printable import identifier
from gatework.reports.inspection import Inspection
from gatework.reports.page import figure
from gatework.reports.passages import COLUMNS, draw_passage, rows_in_words
from gatework.reports.sections.section import Found, Part, Section, title

__all__ = ["PASSAGE"]

WORDS = (
    f"{COLUMNS} A gate near 1 is open and bright, near 0 closed and dark. A "
    "state is red above zero and blue below."
)


def _passages(found: Found) -> Iterator[str]:
    return map(_passage, found)


def _passage(one: Inspection) -> str:
    passage = one.passage
    panels = ", ".join([*passage.gates, *passage.states])
    means = [f"{name} is {values.mean():.0%} open" for name, values in passage.gates.items()]
    alt = f"{panels} over “{passage.text}”; {', '.join(means) or 'no gates'} on average"
    caption = f"{title(one)}: {panels} {rows_in_words(passage)}"
    drawing = draw_passage(passage, f"passage-{identifier(one.name)}").in_page
    return figure(drawing, alt, caption, wide=True)


PASSAGE = Section("The text and the gates under it", (Part(_passages, WORDS),))
