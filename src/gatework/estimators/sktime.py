"""The estimators as sktime's: `from gatework.estimators.sktime import RecurrentClassifier`.

They take what sktime takes, have the arguments of `gatework`'s own but for `layout`, and are made
when they are first asked for, since sktime may not be installed: `pip install sktime`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from gatework.estimators.forecaster import RecurrentForecaster as Forecaster
from gatework.estimators.labelled import RecurrentClassifier as Classifier
from gatework.estimators.labelled import RecurrentRegressor as Regressor

PANEL = {
    "X_inner_mtype": "df-list",  # a table for each sequence, a row for each step
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
    "capability:random_state": True,
    "property:randomness": "derandomized",
    "capability:categorical_in_X": False,
}
PROBABLE = {"capability:predict_proba": True}
SERIES = {
    "y_inner_mtype": "pd.DataFrame",
    "X_inner_mtype": "pd.DataFrame",
    "capability:multivariate": True,
    "capability:exogenous": True,
    "capability:missing_values": True,
    "capability:insample": False,
    "capability:random_state": True,
    "property:randomness": "derandomized",
    "capability:categorical_in_X": False,
    "requires-fh-in-fit": True,
}
TRIALS: list[dict[str, Any]] = [
    {"cell": cell, "hidden_size": 4, "max_epochs": 2, "random_state": 0} for cell in ("gru", "lstm")
]
"""With what sktime's own checks try them."""


def __getattr__(name: str) -> Any:
    """Make a class when it is first asked for."""
    if name not in _MAKERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _MAKERS[name]()
    made.__name__ = made.__qualname__ = name
    globals()[name] = made
    return made


def _initial(base: type, ours: type, without: str) -> Callable[..., None]:
    """A constructor that keeps the arguments of an estimator of ours, but for one."""
    parameters = inspect.signature(ours).parameters.values()
    known = inspect.Signature([p for p in parameters if p.name != without])

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        given = known.bind(*values, **named)
        given.apply_defaults()
        vars(self).update(given.arguments)
        base.__init__(self)  # type: ignore[misc]

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = known.replace(  # type: ignore[attr-defined]
        parameters=[own, *known.parameters.values()]
    )
    return __init__


def _labelled(base: Any, ours: Any) -> Any:
    """What fits a label or a number to each sequence."""

    class Adapter(base):  # type: ignore[misc]
        _tags = PANEL
        __init__ = _initial(base, ours, "layout")
        __doc__ = ours.__doc__

        def _fit(self, X: Any, y: Any) -> Any:
            self.fitted_ = ours(**self.get_params(deep=False)).fit(X, y)
            return self

        def _predict(self, X: Any) -> Any:
            return self.fitted_.predict(X)

        @classmethod
        def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
            return TRIALS

    return Adapter


def _classifier() -> Any:
    from sktime.classification.base import BaseClassifier

    class Adapter(_labelled(BaseClassifier, Classifier)):  # type: ignore[misc]
        _tags = PROBABLE
        __doc__ = Classifier.__doc__

        def _predict_proba(self, X: Any) -> Any:
            return self.fitted_.predict_proba(X)

    return Adapter


def _regressor() -> Any:
    from sktime.regression.base import BaseRegressor

    return _labelled(BaseRegressor, Regressor)


def _forecaster() -> Any:
    from sktime.forecasting.base import BaseForecaster

    class Adapter(BaseForecaster):  # type: ignore[misc]
        _tags = SERIES
        __init__ = _initial(BaseForecaster, Forecaster, "horizon")
        __doc__ = Forecaster.__doc__

        def _fit(self, y: Any, X: Any, fh: Any) -> Any:
            horizon = int(_ahead(self, fh).max())
            self.fitted_ = Forecaster(horizon, **self.get_params(deep=False)).fit(y, X)
            self._table, self._columns = type(y), y.columns
            return self

        def _predict(self, fh: Any, X: Any) -> Any:
            if X is not None:  # the layers read on step by step; what is not given is missing
                steps = np.arange(1, self.fitted_.horizon + 1)
                X = X.reindex(_index(self, steps))
            rows = self.fitted_.predict(X)
            index = fh.to_absolute_index(self.cutoff)
            return self._table(rows[_ahead(self, fh) - 1], index=index, columns=self._columns)

        @classmethod
        def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
            return [{**trial, "context": 4} for trial in TRIALS]

    return Adapter


def _ahead(adapter: Any, fh: Any) -> Any:
    """How many steps each of sktime's horizon is after the end of what was fitted."""
    return np.asarray(fh.to_relative(adapter.cutoff).to_numpy(), dtype=int)


def _index(adapter: Any, steps: Any) -> Any:
    """The times of steps after the end of what was fitted."""
    from sktime.forecasting.base import ForecastingHorizon

    return ForecastingHorizon(steps, is_relative=True).to_absolute_index(adapter.cutoff)


_MAKERS: dict[str, Callable[[], Any]] = {
    "RecurrentClassifier": _classifier,
    "RecurrentRegressor": _regressor,
    "RecurrentForecaster": _forecaster,
}
