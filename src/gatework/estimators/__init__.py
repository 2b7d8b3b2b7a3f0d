"""Recurrent networks with scikit-learn's conventions: fit, predict, score, clone.

They need scikit-learn: `pip install 'gatework[sklearn]'`.
"""

try:
    import sklearn as _  # noqa: F401 - asked for here, so that what is missing is said at once
except ImportError as error:
    raise ImportError(
        "gatework's estimators need scikit-learn: pip install 'gatework[sklearn]'"
    ) from error

from gatework.estimators.forecaster import RecurrentForecaster
from gatework.estimators.labelled import RecurrentClassifier, RecurrentRegressor

__all__ = ["RecurrentClassifier", "RecurrentForecaster", "RecurrentRegressor"]
