"""Figures that people quote of forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["coverage", "errors", "quantile_losses"]


def quantile_losses(
    apart: NDArray[np.floating], levels: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the mean loss of quantiles that the truth is so far above: [..., Q] to [...].

    The numbers of `gatework.tasks.forecasting.model.quantile_loss`, of which training is made.

    Example:
        >>> quantile_losses(np.array([1.0, -1.0]), np.array([0.1, 0.9])).round(3).item()
        0.1
    """
    losses: NDArray[np.floating] = np.maximum(levels * apart, (levels - 1) * apart).mean(-1)
    return losses


def errors(
    truth: NDArray[np.float64], found: NDArray[np.float64], usual: NDArray[np.float64]
) -> dict[str, float]:
    """Return MAE, MASE and sMAPE over all values that are known.

    MASE (Hyndman & Koehler 2006) is the error as a share of the usual one: of the seasonal naive
    forecast in what was learned from. sMAPE is 200 |y − f| / (|y| + |f|), in percent.

    Args:
        truth: [values]; NaN where it is not known.
        found: [values], forecasts.
        usual: [values], the usual error of each value's series.

    Example:
        >>> errors(np.array([1.0, np.nan]), np.array([2.0, 3.0]), np.array([4.0, 4.0]))
        {'MAE': 1.0, 'MASE': 0.25, 'sMAPE': 66.66666666666667}
    """
    known = ~np.isnan(truth) & ~np.isnan(found)
    truth, found, usual = truth[known], found[known], usual[known]
    apart = np.abs(found - truth)
    size = np.abs(found) + np.abs(truth)
    return {
        "MAE": _mean(apart),
        "MASE": _mean(apart / np.maximum(usual, 1e-12)),
        "sMAPE": _mean(200 * apart / np.maximum(size, 1e-12)),
    }


def coverage(
    truth: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> float:
    """Return the share of known values that lie between two quantiles.

    Example:
        >>> coverage(np.array([1.0, 5.0]), np.zeros(2), np.full(2, 2.0))
        0.5
    """
    known = ~np.isnan(truth)
    inside = (truth >= low) & (truth <= high)
    return _mean(inside[known])


def _mean(values: NDArray[Any]) -> float:
    """The mean; of no value none."""
    return float(values.mean()) if len(values) else float("nan")
