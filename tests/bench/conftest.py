"""Comparisons that are over at once: what is tested is their structure, never a time."""

from __future__ import annotations

import pytest

from gatework.bench import Pace, Shape

SMALL = Shape(2, 3, 5, 7)


@pytest.fixture
def at_once() -> Pace:
    """One turn of one call."""
    return Pace(total=0, turn=0, rest=0, rounds=1, grain=0)


@pytest.fixture
def small() -> Shape:
    """Sizes off every grid."""
    return SMALL
