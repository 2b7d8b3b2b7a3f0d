"""scikit-learn's own checks, and its tools around our estimators."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import gatework as gw
from gatework import RecurrentClassifier, RecurrentForecaster, RecurrentRegressor

QUICK = {"hidden_size": 8, "learning_rate": 0.03}
ROUNDED = "numbers are float32, and other batches are rounded otherwise, in the seventh digit"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks(
    [RecurrentClassifier(max_epochs=20, **QUICK), RecurrentRegressor(max_epochs=40, **QUICK)],
    expected_failed_checks=lambda _: {
        "check_methods_subset_invariance": ROUNDED,
        "check_methods_sample_order_invariance": ROUNDED,
    },
    xfail_strict=False,
)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def waves(n=40, seed=0):
    """Sequences of 4 to 9 steps of two features, and which of two kinds each is."""
    random = np.random.default_rng(seed)
    kinds = np.arange(n) % 2
    steps = random.integers(4, 10, n)
    return [random.normal(k, 0.5, (t, 2)) for k, t in zip(kinds, steps, strict=True)], kinds


def test_a_search_over_cells_in_a_pipeline():
    X, y = np.random.default_rng(0).normal(size=(24, 6)), np.arange(24) % 3
    X += y[:, None]
    model = RecurrentClassifier(max_epochs=15, random_state=0, **QUICK)
    pipeline = make_pipeline(StandardScaler(), model)
    cells = {"recurrentclassifier__cell": ["gru", gw.cells.min_gru]}
    search = GridSearchCV(pipeline, cells, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.5


def test_lists_go_through_cross_validation_and_transformers():
    X, y = waves()
    model = RecurrentClassifier(max_epochs=10, random_state=0, **QUICK)
    scores = cross_val_score(model, X, y, cv=2, error_score="raise")
    assert scores.mean() > 0.9
    halved = FunctionTransformer(lambda X: [x[::2] for x in X])
    assert make_pipeline(halved, model).fit(X, y).score(X, y) > 0.9


@gw.cell
def latch(x, h):
    z = gw.sigmoid(gw.linear("z", x, h))
    return z * h + (1 - z) * gw.tanh(gw.linear("n", x))


def test_a_cell_of_ones_own_is_cloned_and_pickled():
    X, y = waves()
    model = clone(RecurrentClassifier(latch, max_epochs=2, random_state=0, **QUICK))
    assert model.get_params()["cell"].name == "latch"
    model.fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_a_forecaster_is_cloned_and_pickled():
    model = RecurrentForecaster(3, 6, max_epochs=1, hidden_size=4, random_state=0)
    assert clone(model).get_params() == model.get_params()
    model.fit(np.arange(30.0))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(), model.predict())


@pytest.mark.parametrize("make", [RecurrentClassifier, RecurrentRegressor])
def test_the_same_seed_gives_the_same_bits_and_leaves_torchs_alone(make):
    X, y = waves(20)
    options = {"num_layers": 2, "dropout": 0.3, "early_stopping": True, "max_epochs": 3, **QUICK}
    model = make(random_state=3, **options)
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    first = model.fit(X, y).model_.state_dict()
    assert torch.equal(torch.randn(3), expected)
    second = clone(model).fit(X, y).model_.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = clone(model).set_params(random_state=4).fit(X, y).model_.state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_what_star_imports_does_not_need_scikit_learn():
    assert "RecurrentClassifier" in dir(gw)
    assert "RecurrentClassifier" not in gw.__all__
