"""What a section of the page on trained models is, and how models and values are named in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gatework.lens import Measurement
from gatework.reports.inspection import Inspection
from gatework.reports.page import paragraph, section

__all__ = [
    "MOST_PLACES",
    "Found",
    "Part",
    "Section",
    "drawn",
    "first_axis",
    "full_name",
    "model_name",
    "named_unit",
    "short_name",
    "steps_of",
    "title",
]

MOST_PLACES = 8
"""Places on an axis, such as heads, that a table lists."""
Found = Sequence[Inspection]
"""The models that a page is on, measured."""


@dataclass(frozen=True)
class Part:
    """A part of a section: measurements explained, then shown.

    Attributes:
        show: the figures, tables and paragraphs on all models, as HTML.
        words: what is to be known before one looks at them; or what says it of these models.
        measurements: the fields of `Inspection` that are shown; they are saved under these names.
    """

    show: Callable[[Found], Iterable[str]]
    words: str | Callable[[Found], str] = ""
    measurements: tuple[str, ...] = ()

    def html(self, found: Found) -> Iterator[str]:
        """The words, and what they explain; nothing where there is nothing to show."""
        shown = list(self.show(found))
        words = self.words if isinstance(self.words, str) else self.words(found)
        if shown and words:
            yield paragraph(words)
        yield from shown


@dataclass(frozen=True)
class Section:
    """A heading and the parts under it."""

    heading: str
    parts: tuple[Part, ...]

    def html(self, found: Found) -> str:
        """The section on some models; "" where it has nothing to show of them."""
        parts = [html for part in self.parts for html in part.html(found)]
        return section(self.heading, *parts) if parts else ""


def title(one: Inspection) -> str:
    """A model's name with what it is, such as "mine (lstm, 2 layers of 192 units)"."""
    return f"{one.name} ({one.subject.what.removeprefix(f'{one.name}, ')})"


def drawn(one: Inspection, measurement: Measurement) -> str:
    """The drawing of a measurement; its ids are unlike those of the same of another model."""
    plot = measurement.plot()
    return replace(plot, name=f"{plot.name}-{one.name}").in_page


def steps_of(found: Found) -> str:
    """What the steps of all models are called: "bytes", or "steps" where they are not alike."""
    words = {f"{one.step}s" for one in found}
    return words.pop() if len(words) == 1 else "steps"


def model_name(found: Found, one: Inspection) -> str:
    """The name of a model, to be said where there are several."""
    return one.name if len(found) > 1 else ""


def short_name(one: Inspection, value: str) -> str:
    """A value's full name, such as "layer.l0.c", without what is the same for all."""
    return one.subject.short(value)


def first_axis(lengths: Mapping[str, int]) -> str:
    """The axis by which a value with axes is told, such as "head"; "" where there is none."""
    return next(iter(lengths), "")


def named_unit(one: Inspection, value: str, unit: int) -> str:
    """A unit in words: "number 17 of c", or "head 2, key 5, value 7 of S"."""
    number = "" if value in one.units.lengths else "number "
    return f"{number}{one.units.label(value, unit)} of {short_name(one, value)}"


def full_name(found: Found, one: Inspection, value: str) -> str:
    """A value's short name, after that of its model where there are several."""
    return f"{model_name(found, one)} {short_name(one, value)}".strip()
