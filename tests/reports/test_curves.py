"""Curves over gates: gaps stay gaps, times are told, of many columns the telling ones are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from gatework.lens import Passage
from gatework.reports.curves import Peak, draw_peaks, stamps, telling_curves
from gatework.reports.passages import columns_in_words, draw_passage
from gatework.tasks.held_out import Track

DAY = 86_400.0
STEPS = 30
RISING = np.linspace(0, 1, STEPS, dtype=np.float32)
SHOWN = np.stack([RISING, -RISING])


def passage(steps=STEPS):
    return Passage((), (3, 7), {"f": np.abs(SHOWN[:, :steps])}, {"c": SHOWN[:, :steps]})


def test_the_first_curve_and_those_that_units_follow_are_drawn():
    random = np.random.default_rng(0)
    curves = {f"noise {k}": random.normal(size=STEPS).astype(np.float32) for k in range(9)}
    gap = RISING.copy()
    gap[5:9] = np.nan
    curves |= {"gap": gap, "missing": np.full(STEPS, np.nan, np.float32)}
    found = telling_curves(curves, [SHOWN])
    assert len(found) == 4
    assert "noise 0" in found
    assert "gap" in found
    assert "missing" not in found
    assert telling_curves({}, [SHOWN]) == {}


@pytest.mark.parametrize("steps", [1, 2, STEPS])
def test_a_drawing_has_curves_labels_and_times(steps):
    values = np.where(np.arange(steps) % 3 == 1, np.nan, RISING[:steps])
    labels = ("up", "", *["$down$"] * STEPS)[:steps]
    times = DAY * np.arange(steps)
    track = Track(curves={"<load>": values}, labels=labels, times=times, dated=True)
    drawing = draw_passage(passage(steps), "p", track)
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert "<load>" in titles
    assert "label" in titles
    assert ("$down$" in texts) == (steps > 2)
    assert ">1970-01-01</text>" in drawing.svg
    line = drawing.figure.axes[0].lines[0].get_ydata()
    assert np.array_equal(np.isnan(line), np.isnan(values))


def test_steps_without_times_are_numbered():
    drawing = draw_passage(passage(), "p", Track(curves={"x": RISING}), first=1000)
    assert ">1,000</text>" in drawing.svg
    assert ">step</text>" in drawing.svg


def test_times_are_as_short_as_tells_them_apart():
    times = np.array([0.0, 60.0, 61.0, DAY])
    track = Track(times=times, dated=True)
    assert stamps(track, np.array([0, 3])) == ["1970-01-01", "1970-01-02"]
    assert stamps(track, np.array([0, 1])) == ["1970-01-01 00:00", "1970-01-01 00:01"]
    assert stamps(track, np.array([2])) == ["1970-01-01 00:01:01"]
    assert stamps(Track(times=times / 8), np.array([1, 2])) == ["7.5", "7.625"]


@pytest.mark.parametrize("curves", [{}, {"other": RISING[::-1] ** 2, "x": RISING}])
def test_peaks_are_drawn_under_the_curve_that_the_unit_follows(curves):
    peaks = [Peak(Track(curves=curves, name=name), RISING.astype(float), 29) for name in "ab"]
    drawing = draw_peaks(peaks, "peaks")
    assert drawing.figure.axes[0].get_ylabel() == ("x" if curves else "")
    assert ">b</text>" in drawing.svg
    if curves:
        asked = draw_peaks(peaks, "peaks", "other")
        assert asked.figure.axes[0].get_ylabel() == "other"


def test_words_fit_what_steps_are():
    assert "one byte of a passage" in columns_in_words("byte")
    assert "takes several bytes" not in columns_in_words("character")
    assert "a gap is a value that is missing" in columns_in_words("step")
