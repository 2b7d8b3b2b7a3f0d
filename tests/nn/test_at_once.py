"""Directions of a layer run at the same time where a device has streams."""

from contextlib import contextmanager

import pytest
import torch

import gatework as gw
from gatework.nn import at_once as streams


class Noted:
    """Streams that note what is asked of them."""

    def __init__(self, notes):
        self.notes = notes
        notes.append("before")

    @contextmanager
    def aside(self, number):
        self.notes.append(f"begin {number}")
        yield
        self.notes.append(f"end {number}")

    def join(self, number, made):
        self.notes.append((f"join {number}", {tuple(t.shape) for t in made}))


@pytest.fixture
def notes(monkeypatch):
    """What is asked of the streams of the CPU, which has none."""
    found = []
    monkeypatch.setitem(streams.STREAMS, "cpu", lambda device: Noted(found))
    return found


def test_the_second_direction_runs_aside_and_is_waited_for(notes):
    layer = gw.nn.LSTM(3, 4, bidirectional=True)
    expected = torch.nn.LSTM(3, 4, bidirectional=True)
    expected.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3)
    y, _ = layer(x)
    assert notes == ["before", "begin 0", "end 0", ("join 0", {(5, 2, 4), (2, 4)})]
    torch.testing.assert_close(y, expected(x)[0])


def test_what_is_traced_is_waited_for_as_well(notes):
    gw.nn.GRU(3, 4, bidirectional=True).trace(torch.randn(5, 2, 3))
    assert (5, 2, 4) in notes[-1][1]


def test_one_direction_needs_no_stream(notes):
    gw.nn.LSTM(3, 4, num_layers=2)(torch.randn(5, 2, 3))
    assert not notes


def test_works_of_other_devices_run_in_turn():
    done = []
    given = [(k,) for k in range(3)]
    found = streams.at_once(lambda k: done.append(k) or k, given, torch.device("cpu"))
    assert found == [0, 1, 2] == done
