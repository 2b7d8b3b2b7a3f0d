"""What a sweep may try: checked before anything is trained."""

import pytest

import gatework as gw
from gatework.errors import InputError
from gatework.sweeps import Choices, Range, space_of
from gatework.train import RunConfig

BASE = RunConfig.of(threads=1)


def test_ranges_and_choices_are_read():
    space = space_of({"lr": "1e-4..1e-2:log", "hidden-size": "8..32", "layers": [1, 2]}, BASE)
    assert space["learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert space["hidden_size"] == Range(8, 32, whole=True)
    assert space["layers"] == Choices({"1": {"layers": 1}, "2": {"layers": 2}})


def test_cells_of_ones_own_are_choices():
    own = gw.cells.gru.pin(r=1)
    space = space_of({"cell": [gw.cells.lstm, own]}, BASE)
    assert space["cell"].options["gru[r=1]"]["equations"] is not None


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({}, "no setting to search"),
        ({"hiden": "3..4"}, "did you mean 'hidden_size'"),
        ({"steps": "3..4"}, "no budget"),
        ({"lr": "0..1:log"}, "a least above 0"),
        ({"lr": "1..0"}, "learning_rate='1..0'"),
        ({"hidden_size": "1.5..8"}, "hidden_size='1.5..8'"),
        ({"cell": "lsmt,gru"}, "did you mean"),
        ({"precision": "1..2"}, "a range"),
        ({"layers": []}, "layers="),
        ({"layers": "2"}, "two or more"),
    ],
)
def test_what_cannot_be_tried_is_told(search, words):
    with pytest.raises(InputError) as told:
        space_of(search, BASE)
    assert words in str(told.value)
