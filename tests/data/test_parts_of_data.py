"""What is held out, how numbers are scaled, and what lies on the disk."""

from dataclasses import replace

import numpy as np
import pytest

from gatework.data.dividing import by_sequence, by_time
from gatework.data.scaling import Scaling, fit
from gatework.data.scratch import Mapped, Scratch
from gatework.data.sequences import Sequences
from gatework.errors import InputError


def sequences(*lengths, labels=None):
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = np.arange(starts[-1], dtype=np.float32)[:, None]
    return Sequences(
        "test", "", ("y",), values, starts, [str(k) for k in range(len(lengths))], labels=labels
    )


def test_the_last_rows_of_each_sequence_are_held_out():
    several = sequences(10, 4, 1)
    assert by_time(several, 0.25).tolist() == [8, 13, 15]
    assert by_time(several, 3).tolist() == [7, 11, 14]


def test_of_every_class_the_same_share_is_held_out():
    labels = np.array(["a"] * 40 + ["b"] * 10 + ["c"])
    learned, held_out = by_sequence(sequences(*[2] * 51, labels=labels), 0.2, seed=3)
    assert sorted([*learned, *held_out]) == list(range(51))
    assert np.unique(labels[held_out], return_counts=True)[1].tolist() == [8, 2]
    assert set(labels[learned]) == {"a", "b", "c"}
    again = by_sequence(sequences(*[2] * 51, labels=labels), 0.2, seed=3)
    assert again[1].tolist() == held_out.tolist()
    assert len(by_sequence(sequences(1, 1), 0.1, seed=0)[1]) == 1
    with pytest.raises(InputError, match="a single sequence"):
        by_sequence(sequences(9), 0.1, seed=0)


def test_the_scaling_of_parts_is_that_of_the_whole():
    values = np.random.default_rng(0).normal(1e4, 3, (100, 3))
    values[::7, 1] = np.nan
    values[:, 2] = 5
    scaling = fit([values[:13], values[13:14], values[14:]])
    np.testing.assert_allclose(scaling.means, np.nanmean(values, 0))
    np.testing.assert_allclose(scaling.scales[:2], np.nanstd(values, 0)[:2])
    assert scaling.scales[2] == 1
    np.testing.assert_allclose(scaling.undo(scaling.apply(values), [0, 1, 2]), values, rtol=1e-6)
    same = Scaling.of_data(scaling.as_data(), 3)
    np.testing.assert_array_equal(same.means, scaling.means)
    for wrong in ({}, {"means": [1], "scales": [1]}, {"means": [1] * 3, "scales": [0, 1, 1]}, None):
        with pytest.raises(InputError, match="a scaling that is not one of 3 columns"):
            Scaling.of_data(wrong, 3)


def test_what_was_written_can_be_looked_at_as_often_as_one_likes(monkeypatch):
    monkeypatch.setattr("gatework.data.scratch.MOST_LOOKED_AT", 64)
    wanted = np.random.default_rng(0).random((100, 3)).astype(np.float32)
    with Scratch(np.float32, 3) as scratch:
        for part in np.array_split(wanted, 7):
            scratch.write(part)
        rows = scratch.rows()
    kept = rows[3:9]
    for k in range(0, 100, 9):
        np.testing.assert_array_equal(rows[k : k + 9], wanted[k : k + 9])
    np.testing.assert_array_equal(rows[[5, 50]], wanted[[5, 50]])
    np.testing.assert_array_equal(kept, wanted[3:9])  # a part that was let go is read again
    assert isinstance(rows, Mapped)
    assert type(kept) is np.ndarray
    assert rows[4, 2] == wanted[4, 2]
    assert replace(sequences(3), values=rows).values is rows
    with Scratch(np.float32, 3) as empty:
        assert empty.rows().shape == (0, 3)
