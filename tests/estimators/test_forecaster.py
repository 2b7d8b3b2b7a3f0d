"""Forecasts of series whose answer is known, and what is said of what is wrong."""

import numpy as np
import pandas as pd
import pytest
import torch

from gatework import RecurrentForecaster
from gatework.estimators.series import quantile_loss

QUICK = {"hidden_size": 8, "random_state": 0, "learning_rate": 0.02}


def test_a_wave_goes_on():
    y = 100 + 5 * np.sin(np.arange(230) / 4)
    model = RecurrentForecaster(8, 24, max_epochs=15, **QUICK).fit(y[:-8])
    assert model.score(y[-8:]) > -0.6
    low, middle, high = model.predict_quantiles().T
    assert (low <= middle).all()
    assert (middle <= high).all()
    np.testing.assert_array_equal(model.predict(), middle)
    np.testing.assert_allclose(model.predict(y=y[:-8]), middle)


def test_covariates_are_known_ahead():
    """The series is what the covariate is at that very step, which nothing in the past tells."""
    X = np.random.default_rng(0).normal(size=(220, 1))
    y = 3 * X[:, 0] + 10
    model = RecurrentForecaster(5, 5, max_epochs=30, **QUICK).fit(y[:-5], X[:-5])
    assert model.score(y[-5:], X[-5:]) > -0.8
    later = model.predict(X[-5:], y=y[50:60], past_X=X[50:60])
    assert np.abs(later - y[-5:]).mean() < 0.8


def test_a_season_comes_again():
    y = np.random.default_rng(0).normal(size=12)[np.arange(240) % 12] * 7
    model = RecurrentForecaster(20, 24, season=12, max_epochs=5, **QUICK).fit(y[:-20])
    assert model.score(y[-20:]) > -1


def test_tables_of_several_targets_with_gaps():
    table = pd.DataFrame({"a": np.arange(60) % 5, "b": np.arange(60) % 3}).astype(float)
    table.iloc[10:14, 0] = np.nan
    model = RecurrentForecaster(4, 10, max_epochs=1, quantiles=(0.2, 0.5), **QUICK).fit(table)
    assert model.predict().shape == (4, 2)
    assert model.predict_quantiles().shape == (4, 2, 2)
    assert np.isfinite(model.loss_curve_).all()


def test_early_stopping_holds_out_the_end():
    y = np.concatenate([np.zeros(100), np.random.default_rng(0).normal(size=40)])
    options = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 2}
    model = RecurrentForecaster(4, 8, max_epochs=20, **options, **QUICK).fit(y)
    assert model._scale.means == 0  # scaled by what is not held out
    assert len(model.validation_curve_) == model.n_iter_


def test_the_loss_is_the_quantile_loss_of_what_is_there():
    found = torch.tensor([1.0, 4.0]).reshape(1, 1, 1, 2)
    wanted = torch.tensor([[[3.0]]])
    loss = quantile_loss(found, wanted, torch.tensor([0.1, 0.9]))
    assert loss.item() == pytest.approx((0.1 * 2 + 0.1 * 1) / 2)
    both = quantile_loss(
        found.expand(2, 1, 1, 2), torch.tensor([[[3.0]], [[torch.nan]]]), torch.tensor([0.1, 0.9])
    )
    assert both.item() == pytest.approx(loss.item())


@pytest.mark.parametrize(
    ("options", "y", "phrase"),
    [
        ({"horizon": 0}, np.arange(90.0), "horizon=0"),
        ({"season": 0}, np.arange(90.0), "season=0"),
        ({"season": 5}, np.arange(90.0), "context=4 with season=5 and horizon=3"),
        ({"quantiles": (0.9, 0.1)}, np.arange(90.0), "rising"),
        ({}, np.arange(5.0), "a series of 5 steps"),
        ({}, [["a"]], "an array of"),
        ({}, np.ones((4, 3, 2)), r"y is the shape \[4, 3, 2\]"),
        ({}, np.full(90, np.inf), "infinite"),
        (
            {"early_stopping": True, "validation_fraction": 0.01},
            np.arange(90.0),
            "at least one hor",
        ),
    ],
)
def test_errors_say_what_came_and_what_was_expected(options, y, phrase):
    with pytest.raises(ValueError, match=phrase):
        RecurrentForecaster(**{"horizon": 3, "context": 4, **options}).fit(y)


def test_covariates_that_do_not_fit_are_named():
    y, X = np.arange(40.0), np.ones((40, 2))
    model = RecurrentForecaster(3, 4, max_epochs=1, **QUICK).fit(y, X)
    for ahead in (None, X[:2], X[:3, :1]):
        with pytest.raises(ValueError, match="3 steps of 2 covariates"):
            model.predict(ahead)
    with pytest.raises(ValueError, match="a past of 2 steps"):
        model.predict(X[:3], y=y[:2], past_X=X[:2])
    with pytest.raises(ValueError, match="40 steps of some covariates"):
        RecurrentForecaster(3, 4).fit(y, X[:5])
    with pytest.raises(ValueError, match="the 3 steps after those"):
        model.score(y, X[:3])
