"""Forms of X, missing values, targets, and what is said of what is wrong."""

import numpy as np
import pandas as pd
import polars
import pytest
import torch

from gatework import RecurrentClassifier, RecurrentRegressor

QUICK = {"hidden_size": 8, "learning_rate": 0.03, "random_state": 0}


def sequences(n=24, features=2):
    """Normal numbers around the sequence's class, 0 or 1; 3 to 8 steps."""
    random = np.random.default_rng(0)
    y = np.arange(n) % 2
    return [random.normal(k, 0.5, (random.integers(3, 9), features)) for k in y], y


def fitted(X, y, **options):
    return RecurrentClassifier(**{"max_epochs": 10, **QUICK, **options}).fit(X, y)


# ---- forms of X --------------------------------------------------------------------------------

FORMS = {
    "tensors": lambda X: [torch.tensor(x, requires_grad=True) for x in X],
    "pandas": lambda X: [pd.DataFrame(x, columns=["a", "b"]) for x in X],
    "polars": lambda X: [polars.DataFrame({"a": x[:, 0], "b": x[:, 1]}) for x in X],
    "jagged": lambda X: torch.nested.as_nested_tensor(
        list(map(torch.tensor, X)), layout=torch.jagged
    ),
    "objects": lambda X: np.array([*X, None], dtype=object)[:-1],
    "tuple": tuple,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_collection_in_any_form_gives_what_the_list_of_arrays_gives(form):
    X, y = sequences()
    model = fitted(X, y)
    assert model.n_features_in_ == 2
    assert model.score(X, y) > 0.9
    given = FORMS[form](X)
    np.testing.assert_allclose(model.predict_proba(given), model.predict_proba(X))
    np.testing.assert_array_equal(fitted(given, y).predict_proba(X), model.predict_proba(X))


def test_equal_lengths_in_both_layouts():
    random = np.random.default_rng(0)
    y = np.arange(20) % 2
    X = random.normal(y[:, None, None], 0.5, (20, 6, 3))
    model, turned = fitted(X, y), fitted(X.transpose(0, 2, 1), y, layout="nft")
    assert (model.n_features_in_, turned.n_features_in_) == (3, 3)
    wanted = model.predict_proba(X)
    np.testing.assert_array_equal(turned.predict_proba(X.transpose(0, 2, 1)), wanted)
    np.testing.assert_array_equal(turned.predict_proba([x.T for x in X]), wanted)
    np.testing.assert_array_equal(model.predict_proba(torch.tensor(X)), wanted)
    np.testing.assert_array_equal(turned.predict_proba([pd.DataFrame(x) for x in X]), wanted)


def test_a_table_is_a_series_in_each_row():
    random = np.random.default_rng(0)
    y = np.arange(20) % 2
    X = random.normal(y[:, None], 0.5, (20, 6))
    model = fitted(X, y)
    assert model.n_features_in_ == 6
    wanted = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X[:, :, None]), wanted)
    np.testing.assert_array_equal(model.predict_proba(list(X)), wanted)
    np.testing.assert_array_equal(fitted(list(X), y).predict_proba(X), wanted)


# ---- what it learns ----------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_sequence_gives_the_same_alone_and_among_others(pooling, bidirectional):
    X, y = sequences(8)
    X[1][2, 0] = np.nan
    model = fitted(X, y, pooling=pooling, bidirectional=bidirectional, max_epochs=1)
    together = model.predict_proba(X)
    for k, x in enumerate(X):
        np.testing.assert_allclose(model.predict_proba([x])[0], together[k], rtol=1e-5)


def test_missing_values_are_read_as_such():
    """Whether a value is there tells the class; what it is does not."""
    random = np.random.default_rng(0)
    y = np.array(["there", "gone"])[np.arange(40) % 2]
    X = [random.normal(size=(random.integers(4, 8), 1)) for _ in y]
    for x, kind in zip(X, y, strict=True):
        x[1:3] = np.nan if kind == "gone" else x[1:3]
    model = fitted(X, y, max_epochs=40)
    assert model.score(X, y) == 1
    assert model.classes_.tolist() == ["gone", "there"]
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)


def test_where_none_is_missing_in_training_a_missing_one_is_the_mean():
    X, y = sequences()
    model = fitted(X, y)
    mean = np.concatenate(X).mean(0)
    gone, filled = [x.copy() for x in X], [x.copy() for x in X]
    for a, b in zip(gone, filled, strict=True):
        a[1], b[1] = np.nan, mean
    np.testing.assert_allclose(model.predict_proba(gone), model.predict_proba(filled), rtol=1e-5)


@pytest.mark.parametrize("shape", [(40,), (40, 2)])
def test_targets_keep_their_unit_and_form(shape):
    X, _ = sequences(40)
    means = np.array([x.mean(0) for x in X])
    y = 1e6 + 1e3 * (means[:, 0] if len(shape) == 1 else means)
    model = RecurrentRegressor(max_epochs=30, **QUICK).fit(X, y)
    assert model.predict(X).shape == shape
    assert model.score(X, y) > 0.8


def test_early_stopping_keeps_the_best_weights():
    X, _ = sequences(60)
    noise = np.random.default_rng(1).integers(0, 2, 60)
    options = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3}
    model = RecurrentClassifier(max_epochs=60, **QUICK, **options).fit(X, noise)
    assert model.n_iter_ == len(model.loss_curve_) < 60
    assert model.n_iter_ == np.argmin(model.validation_curve_) + 1 + 3


# ---- what is wrong -----------------------------------------------------------------------------

ONES = np.ones((4, 3, 2))


@pytest.mark.parametrize(
    ("X", "options", "phrase"),
    [
        ([np.ones((3, 2)), np.ones((3, 1))] * 2, {}, "sequence 1 of X has 1 features"),
        ([np.ones((3, 2)), np.ones((0, 2))] * 2, {}, "sequence 1 of X has no steps"),
        ([np.ones((3, 2)), np.ones((1, 3, 2))] * 2, {}, r"an array with the shape \[1, 3, 2\]"),
        ([np.ones((3, 2)), "abc"] * 2, {}, "sequence 1 of X is str"),
        ([np.full((3, 2), np.inf)] * 4, {}, "sequence 0 of X has an infinite value"),
        ([pd.DataFrame({"a": ["x"]})] * 4, {}, r"sequence 0 has columns that are no numbers: 'a'"),
        (ONES, {"cell": "gruu"}, "did you mean 'gru'"),
        (ONES, {"cell": "gru_d"}, "reads mask, gap beside its input"),
        (ONES, {"hidden_size": 0}, "hidden_size=0"),
        (ONES, {"max_epochs": 2.5}, "max_epochs=2.5"),
        (ONES, {"dropout": 1}, "dropout=1"),
        (ONES, {"learning_rate": -1}, "learning_rate=-1"),
        (ONES, {"layout": "nct"}, "one of 'ntf', 'nft'"),
        (ONES, {"pooling": "sum"}, "one of 'last', 'mean', 'max'"),
        (ONES, {"early_stopping": True, "validation_fraction": 0.9}, "4 sequence"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(X, options, phrase):
    with pytest.raises(ValueError, match=phrase):
        RecurrentClassifier(**options).fit(X, [0, 1, 0, 1])


def test_other_features_than_those_of_the_fit_are_named():
    model = fitted(ONES, [0, 1, 0, 1], max_epochs=1)
    with pytest.raises(ValueError, match=r"has 3 features(.|\n)*2, as .*fit had(.|\n)*'nft'"):
        model.predict(ONES.transpose(0, 2, 1))


def test_a_loss_that_is_not_finite_ends_the_training():
    with pytest.raises(ValueError, match="training diverged"):
        RecurrentRegressor("rnn", max_epochs=5, learning_rate=1e30).fit(ONES, [0.0, 1, 2, 3])
