"""sktime's own checks of what is made of its base classes; skipped where it is not installed."""

import pytest

from gatework.estimators import sktime as adapted


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="no attribute 'RecurrentClusterer'"):
        adapted.RecurrentClusterer  # noqa: B018


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # sktime's, of its own and of pandas' futures
@pytest.mark.parametrize(
    "name", ["RecurrentClassifier", "RecurrentRegressor", "RecurrentForecaster"]
)
def test_the_checks_of_sktime(name):
    checks = pytest.importorskip("sktime.utils.estimator_checks")
    checks.check_estimator(getattr(adapted, name), raise_exceptions=True, verbose=False)
