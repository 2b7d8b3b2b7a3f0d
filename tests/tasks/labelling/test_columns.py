"""What stands in columns as features, in torch, is what it is in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatework.data.scaling import Scaling
from gatework.tasks.features import Features, log_gaps
from gatework.tasks.labelling.columns import ColumnFeatures

NAN = float("nan")


@st.composite
def columns(draw):
    """Features of some columns of numbers and texts."""
    kinds = draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))  # categories; 0 of a number
    names = tuple(f"c{k}" for k in range(len(kinds)))
    numbers = st.floats(-50, 50, width=32)
    means = draw(st.lists(numbers, min_size=len(kinds), max_size=len(kinds)))
    scales = [draw(st.floats(0.5, 9, width=32)) for _ in kinds]
    gaps = Scaling(np.array([0.7]), np.array([1.5])) if draw(st.booleans()) else None
    categories = {n: tuple("abc"[:kind]) for n, kind in zip(names, kinds, strict=True) if kind}
    masked = tuple(draw(st.booleans()) for _ in kinds)
    features = Features(names, categories, Scaling(np.array(means), np.array(scales)), masked, gaps)
    rows = draw(st.integers(1, 6))
    cell = [
        st.one_of(st.just(NAN), st.integers(0, kind - 1) if kind else numbers) for kind in kinds
    ]
    values = [[draw(one) for one in cell] for _ in range(rows)]
    return features, np.array(values, np.float32)


@settings(max_examples=60, deadline=None)
@given(columns())
def test_columns_are_the_features_that_a_task_makes(found):
    features, values = found
    times = np.cumsum(np.arange(len(values), dtype=float))
    own = ColumnFeatures(features)
    gap = torch.from_numpy(np.diff(times, prepend=times[:1]).reshape(-1, 1)).float()
    of = own(torch.from_numpy(values), gap)
    np.testing.assert_allclose(of, features.of(values, times), atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(own.there(torch.from_numpy(values)), features.there(values))
    assert own.size == values.shape[1]


def test_time_that_goes_back_counts_as_none():
    scaling = Scaling(np.zeros(1), np.ones(1))
    own = ColumnFeatures(Features(("x",), {}, scaling, (False,), scaling))
    found = own(torch.zeros(2, 1), torch.tensor([[0.0], [-5.0]]))
    np.testing.assert_allclose(found[:, 1:], log_gaps(np.array([9.0, 4.0]), 2))
    assert found[1, 1] == 0


@pytest.mark.parametrize("missing", [False, True])
def test_a_batch_of_sequences_is_read_at_once(missing):
    features = Features(("x", "y"), {}, Scaling(np.ones(2), np.full(2, 2.0)), (missing, False))
    values = torch.randn(4, 3, 2)
    assert ColumnFeatures(features)(values).shape == (4, 3, 2 + missing)
