"""Figures of forecasts against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gatework.tasks.forecasting.metrics import coverage, errors

NAN = np.nan


def test_errors_are_those_worked_out_by_hand():
    truth, found = np.array([10.0, 20.0, 30.0]), np.array([12.0, 20.0, 20.0])
    figures = errors(truth, found, np.array([2.0, 2.0, 5.0]))
    assert figures["MAE"] == pytest.approx((2 + 0 + 10) / 3)
    assert figures["MASE"] == pytest.approx((2 / 2 + 0 + 10 / 5) / 3)
    assert figures["sMAPE"] == pytest.approx((200 * 2 / 22 + 0 + 200 * 10 / 50) / 3)


def test_what_is_not_known_is_left_out():
    whole = errors(np.array([1.0]), np.array([4.0]), np.ones(1))
    more = errors(np.array([NAN, 1.0, 7.0]), np.array([3.0, 4.0, NAN]), np.ones(3))
    assert more == whole


def test_nothing_known_has_no_figure():
    nothing = np.array([NAN])
    assert np.isnan(list(errors(nothing, np.ones(1), np.ones(1)).values())).all()
    assert np.isnan(coverage(nothing, np.zeros(1), np.ones(1)))


def test_coverage_counts_both_ends_and_leaves_out_the_unknown():
    truth = np.array([0.0, 1.0, 2.0, 3.0, NAN])
    assert coverage(truth, np.zeros(5), np.full(5, 2.0)) == 0.75
