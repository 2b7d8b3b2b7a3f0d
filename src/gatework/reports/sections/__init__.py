"""The sections of the page on trained models, in their order; a file for each."""

from __future__ import annotations

from gatework.lens import Measurement
from gatework.reports.inspection import Inspection
from gatework.reports.sections.gates import GATES
from gatework.reports.sections.learning import LEARNING
from gatework.reports.sections.memory import MEMORY
from gatework.reports.sections.method import METHOD
from gatework.reports.sections.passage import PASSAGE
from gatework.reports.sections.step import STEP
from gatework.reports.sections.summary import SUMMARY
from gatework.reports.sections.units import UNITS

__all__ = ["SECTIONS", "shown_measurements"]

SECTIONS = (SUMMARY, PASSAGE, MEMORY, GATES, UNITS, LEARNING, STEP, METHOD)


def shown_measurements(one: Inspection) -> dict[str, Measurement]:
    """What the sections show of a model, by name; without what could not be measured of it."""
    parts = [part for section in SECTIONS for part in section.parts]
    found = {name: getattr(one, name) for part in parts for name in part.measurements}
    return {name: measurement for name, measurement in found.items() if measurement is not None}
