"""Streams are contiguous, complete but for a remainder, and go on from a saved place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatework.errors import InputError
from gatework.tasks.text.streams import Streams

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(0, 40))


def text_for(batch_size: int, window: int, more: int) -> torch.Tensor:
    return torch.randint(256, (batch_size * window + 1 + more,), dtype=torch.uint8)


@given(sizes=SIZES)
def test_each_stream_reads_its_stretch_in_order(sizes):
    batch_size, window, _ = sizes
    text = text_for(*sizes)
    streams = Streams(text, batch_size, window)
    windows = [streams.next() for _ in range(streams.windows)]
    inputs = torch.cat([w.inputs for w in windows])  # [windows·T, B]
    targets = torch.cat([w.targets for w in windows])
    stretch = (len(text) - 1) // batch_size
    for b in range(batch_size):
        start = b * stretch
        assert inputs[:, b].tolist() == text[start : start + len(inputs)].tolist()
        assert targets[:, b].tolist() == text[start + 1 : start + 1 + len(inputs)].tolist()
    assert 0 <= stretch - len(inputs) < window
    assert [w.fresh for w in windows] == [True] + [False] * (len(windows) - 1)


@given(sizes=SIZES, place=st.integers(0, 30))
def test_reading_goes_on_from_a_saved_place(sizes, place):
    batch_size, window, _ = sizes
    text = text_for(*sizes)
    first, second = Streams(text, batch_size, window), Streams(text, batch_size, window)
    for _ in range(place):
        first.next()
    second.position = first.position
    expected, got = first.next(), second.next()
    assert expected.inputs.equal(got.inputs)
    assert expected.targets.equal(got.targets)
    assert expected.fresh == got.fresh


def test_a_window_begins_anew_after_the_last():
    streams = Streams(torch.arange(9, dtype=torch.uint8), batch_size=2, window=2)
    read = [streams.next() for _ in range(3)]
    assert read[2].fresh
    assert read[2].inputs.equal(read[0].inputs)


def test_the_shortest_text_is_enough_and_one_byte_less_is_not():
    assert Streams(text_for(4, 8, 0), 4, 8).windows == 1
    with pytest.raises(InputError, match="at least 33 bytes"):
        Streams(text_for(4, 8, -1), 4, 8)
