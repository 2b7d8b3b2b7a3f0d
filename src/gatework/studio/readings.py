"""The readings that the page has asked for, and the thread that reads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

from gatework.studio.asking import ReadBody, wrong
from gatework.studio.firing import Library
from gatework.studio.models import Studied
from gatework.studio.reading import Reading
from gatework.tasks.held_out import Judged, Place
from gatework.tasks.text.held_out import HeldOutText

__all__ = ["Studio"]

MOST_READINGS, MOST_MEMORY = 24, 500_000_000
"""Readings that are kept, the last ones used, and the bytes that they may take together."""
ACTIVE = 8
"""Readings that go on at the same time, the last ones asked about."""


class Studio:
    """Models, the readings that the page asked for, and the thread that reads.

    The thread reads a chunk of each reading in turn, so that a long sequence does not hold up a
    short one. A reading that the page asks about no more, because a slider has moved on, falls
    behind.

    Args:
        models: Which read the same.
    """

    def __init__(self, models: Sequence[Studied]) -> None:
        self.models = list(models)
        self.held_out = self.models[0].held_out
        self.limit = min(m.limit for m in self.models)
        """The most steps that are read."""
        self._readings: OrderedDict[str, Reading] = OrderedDict()
        self._libraries: dict[int, Library | None] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._go_on, name="reading", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _go_on(self) -> None:
        for studied in self.models:
            studied.describe()  # what takes a moment, before the page asks for it
        while True:
            with self._changed:
                while not self._closed and not self._unfinished():
                    self._changed.wait()
                if self._closed:
                    return
                active = self._unfinished()[-ACTIVE:]
            for reading in reversed(active):
                reading.advance()

    def _unfinished(self) -> list[Reading]:
        return [r for r in self._readings.values() if not r.finished]

    def model(self, number: int) -> Studied:
        """The model of that number."""
        if number >= len(self.models):
            raise wrong(f"model {number}", f"a number below {len(self.models)}")
        return self.models[number]

    def hold(self, studied: Studied, pins: dict[str, float]) -> dict[str, float]:
        """What is held, checked: gates of the model alone."""
        for name in pins:
            if name not in studied.gates:
                known = ", ".join(studied.gates) or "none"
                raise wrong(f"hold {name[:20]!r}", f"a gate of {studied.cell.name}: {known}")
        return dict(sorted(pins.items()))

    # ---- what is read --------------------------------------------------------------------------

    def typed(self, text: str) -> tuple[Judged, Place]:
        """A text that was sent, as the models read it."""
        if not self.models[0].reads_text:
            raise wrong("a text", "a held-out sequence: these models read no text")
        try:
            typed = cast(HeldOutText, self.held_out).typed(text)
        except UnicodeEncodeError:
            raise wrong("a text with half a character", "whole Unicode characters") from None
        place = typed.whole(0)
        if place.last > self.limit:
            steps = f"{place.last:,} {typed.step}s"
            raise wrong(f"a text of {steps}", f"at most {self.limit:,}", 413)
        return typed, place

    def place(self, sequence: int, first: int) -> Place:
        """The steps of a held-out sequence from one on, as many as are read."""
        lengths = self.held_out.lengths
        if self.models[0].reads_text:
            raise wrong("a held-out sequence", "a text")
        if sequence >= len(lengths):
            raise wrong(f"sequence {sequence}", f"a number below {len(lengths)}")
        if first >= lengths[sequence]:
            raise wrong(f"first step {first}", f"a number below {lengths[sequence]}")
        return Place(sequence, first, min(int(lengths[sequence]), first + self.limit))

    def read(self, body: ReadBody) -> tuple[str, Reading]:
        """The reading of a text or a sequence; begun, if it is new."""
        studied = self.model(body.model)
        pins = self.hold(studied, body.hold)
        if (body.text is None) == (body.sequence is None):
            raise wrong("a text and a sequence, or neither", "one of them")
        if body.sequence is None:
            held_out, place = self.typed(cast(str, body.text))
        else:
            held_out, place = studied.held_out, self.place(body.sequence, body.first)
        told = json.dumps([body.model, pins, body.text, place])
        key = hashlib.sha256(told.encode()).hexdigest()[:20]
        with self._changed:
            if key not in self._readings:
                self._readings[key] = Reading(studied, held_out, place, pins)
                self._changed.notify()
            self._readings.move_to_end(key)
            self._let_go()
            return key, self._readings[key]

    def _let_go(self) -> None:
        """Drop the readings that were used longest ago, as many as must be."""
        while len(self._readings) > MOST_READINGS or (
            len(self._readings) > 1 and sum(r.nbytes for r in self._readings.values()) > MOST_MEMORY
        ):
            self._readings.popitem(last=False)

    def reading(self, key: str) -> Reading:
        """A reading that was begun before."""
        with self._changed:
            if key not in self._readings:
                raise wrong("a reading that is not known", "one begun a short while ago", 404)
            self._readings.move_to_end(key)
            return self._readings[key]

    def library(self, number: int) -> Library | None:
        """Held-out data as a model read it; read at the first time of asking."""
        if number not in self._libraries:
            self._libraries[number] = Library.of(self.model(number))
        return self._libraries[number]
