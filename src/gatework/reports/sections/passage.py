"""The data and the gates under it: what gates and states of a few units do, step by step."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.lens import Passage
from gatework.printable import identifier
from gatework.reports.inspection import Inspection
from gatework.reports.page import figure
from gatework.reports.passages import columns_in_words, draw_passage, rows_in_words
from gatework.reports.sections.section import Found, Part, Section, title

__all__ = ["PASSAGE"]

GATES = (
    "A gate near 1 is open and bright, near 0 closed and dark. A "
    "state is red above zero and blue below."
)


def _words(found: Found) -> str:
    columns = dict.fromkeys(columns_in_words(one.step) for one in found)
    return f"{' '.join(columns)} {GATES}"


def _passages(found: Found) -> Iterator[str]:
    for one in found:
        for direction, passage in one.passage.directions.items():
            yield _passage(one, passage, direction)


def _passage(one: Inspection, passage: Passage, direction: str) -> str:
    track, first = one.passage.track, one.passage.first
    panels = ", ".join([*passage.gates, *passage.states])
    means = [f"{name} is {values.mean():.0%} open" for name, values in passage.gates.items()]
    over = f"“{passage.text}”" if passage.characters else track.name or ", ".join(track.curves)
    alt = f"{panels} over {over}; {', '.join(means) or 'no gates'} on average"
    of = f"{title(one)}{', ' * bool(track.name)}{track.name}{', ' * bool(direction)}{direction}"
    caption = f"{of}: {panels} {rows_in_words(passage)}"
    name = f"passage-{identifier(one.name)}{'-' * bool(direction)}{direction}"
    drawing = draw_passage(passage, name, track, first).in_page
    text = bool(passage.characters)
    return figure(drawing, alt, caption, wide=text, whole=not text)


PASSAGE = Section("What it reads, and the gates under it", (Part(_passages, _words),))
