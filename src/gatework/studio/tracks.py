"""What stands over the maps, as the page takes it: the characters of a text, or curves.

T  time steps      C  curves
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.tasks.held_out import Track
from gatework.tasks.said import known

__all__ = ["MOST_CURVES", "curves_of", "told_characters", "told_sequence", "told_track"]

MOST_CURVES = 24
"""Curves that are drawn; of a table of more columns the first ones."""
FEW = 4
"""Curves that are drawn around a place where a unit fires."""


def curves_of(track: Track) -> NDArray[np.float32]:
    """Return the curves that are drawn, [C, T]."""
    return np.stack([*track.curves.values()][:MOST_CURVES]).astype(np.float32)


def told_characters(track: Track) -> dict[str, Any]:
    """Return each character of a text, and over how many steps it stands."""
    found = track.characters
    return {"labels": [c.label for c in found], "widths": [c.width for c in found]}


def told_sequence(track: Track, first: int, begin: int) -> dict[str, Any]:
    """Return what the page must know of a sequence, but for the values of its curves.

    Args:
        track: of the steps that are read.
        first: the first of them.
        begin: the step at which what is held out begins.
    """
    steps = len(next(iter(track.curves.values())))
    return {
        "name": track.name,
        "first": first,
        "length": steps,
        "begin": max(0, begin - first),
        "curves": [*track.curves][:MOST_CURVES],
        "left": max(0, len(track.curves) - MOST_CURVES),
        "labels": [[label, len([*run])] for label, run in groupby(track.labels)],
        "times": None if track.times is None else track.times.tolist(),
        "dated": track.dated,
    }


def told_track(track: Track) -> dict[str, Any]:
    """Return a few steps with all that stands there."""
    characters = [
        {"label": c.label, "width": c.width, "leftward": c.leftward} for c in track.characters
    ]
    curves = {name: known(values.tolist()) for name, values in [*track.curves.items()][:FEW]}
    return {"characters": characters, "curves": curves, "name": track.name}
