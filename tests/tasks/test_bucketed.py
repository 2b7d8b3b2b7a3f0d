"""Batches of whole sequences: each once a time through, decided by position, like beside like."""

import numpy as np
import pytest

from gatework.errors import InputError
from gatework.tasks.bucketed import Bucketed
from gatework.tasks.task import Part


def batches(lengths, size=4, seed=0, part=None):
    return Bucketed(np.asarray(lengths), size, seed, part or Part(), lambda numbers: numbers)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 37, 411])
def test_each_comes_once_each_time_through(count):
    lengths = np.random.default_rng(0).integers(1, 50, count)
    found, each = batches(lengths), -(-count // 4)
    orders = []
    for times in range(1, 4):
        orders.append(np.concatenate([found.next() for _ in range(each)]))
        assert sorted(orders[-1]) == list(range(count))
        assert (found.seen, found.position) == (times * count, times * each)
    if count > 4:
        assert orders[0].tolist() != orders[1].tolist()


def test_position_alone_decides():
    found, again = batches(range(1, 30)), batches(range(1, 30))
    seen = [found.next().tolist() for _ in range(20)]
    for position in (19, 3, 8, 0):  # in any order, also back
        again.position = position
        assert again.next().tolist() == seen[position]
    assert again.seen == 4


def test_another_seed_is_another_order():
    one, other = (batches(range(1, 30), seed=seed).next().tolist() for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize("count", [2, 3, 5])
def test_parts_together_are_the_batch(count):
    whole = batches(range(1, 30))
    parts = [batches(range(1, 30), part=Part(k, count)) for k in range(count)]
    for _ in range(20):
        together = np.concatenate([part.next() for part in parts])
        assert together.tolist() == whole.next().tolist()
        assert {part.seen for part in parts} == {whole.seen}


def test_little_is_padding():
    lengths = np.random.default_rng(1).integers(1, 1000, 800)
    found = batches(lengths, size=8)
    steps = sum(int(lengths[found.next()].max()) * 8 for _ in range(100))
    assert steps < 1.1 * lengths.sum()


def test_nothing_to_learn_from_is_told():
    with pytest.raises(InputError, match="no sequence"):
        batches([])
