"""What is read of held-out data: enough of it, each step once, whatever the lengths."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gatework.errors import InputError
from gatework.reports import held_out, windows
from gatework.reports.held_out import check_held_out, span_of
from gatework.reports.windows import windows_of


def of(*lengths):
    return SimpleNamespace(lengths=np.array(lengths, np.int64), step="row")


@pytest.mark.parametrize(
    "lengths",
    [(64,), (65,), (700,), (5000,), (3, 5, 5, 5, 1), (7,) * 9, (600, 20, 20, 1300), (1,) * 64],
)
def test_each_step_is_read_once_and_hardly_any_is_left_out(lengths):
    found = windows_of(of(*lengths))
    assert len(found) >= 2
    read = np.zeros((len(lengths), max(lengths)), int)
    for places, _ in found:
        assert len({last - first for _, first, last in places}) == 1
        for sequence, first, last in places:
            assert 0 <= first < last <= lengths[sequence]
            read[sequence, first:last] += 1
    assert read.max() == 1
    assert read.sum() > 0.75 * sum(lengths)


def test_a_window_goes_on_where_the_one_before_it_ends_unless_it_is_fresh():
    before = None
    for window in windows_of(of(5000, 700, 9, 9)):
        if not window.fresh:
            assert [p.last for p in before.places] == [p.first for p in window.places]
        before = window


def test_units_are_judged_on_sequences_from_all_over_the_file():
    found = windows_of(of(*[9] * 3000))
    for half in (found[::2], found[1::2]):
        numbers = [place.sequence for places, _ in half for place in places]
        assert abs(np.mean(numbers) - 1500) < 50


def test_of_very_much_no_more_is_read_than_can_be(monkeypatch):
    monkeypatch.setattr(windows, "MOST_STEPS", 1000)
    for lengths in [(5000,), (20, 4000, 30), (10,) * 900]:
        read = sum(p.last - p.first for w in windows_of(of(*lengths)) for p in w.places)
        assert 500 < read <= 1000


def test_how_far_back_is_looked_hangs_on_the_lengths():
    assert span_of(np.array([301, 400])) == (200, 301)
    assert span_of(np.array([300])) == (150, 225)
    assert span_of(np.array([1, 1, 1])) == (0, 1)


def test_places_that_are_looked_back_from_lie_in_their_sequences(monkeypatch):
    monkeypatch.setattr(held_out, "ANCHORS", 27)
    lengths = np.array([4, 30, 9, 12])
    places = held_out.spread_places(lengths, 9)
    assert {place.sequence for place in places} == {1, 2, 3}
    assert all(p.first >= 0 and p.last - p.first == 9 for p in places)
    assert all(p.last <= lengths[p.sequence] for p in places)
    assert len(set(places)) == len(places) == 27


def test_too_little_is_told():
    with pytest.raises(InputError, match="63 held-out rows in the file"):
        check_held_out(of(60, 3), "the file")
