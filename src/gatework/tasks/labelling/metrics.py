"""Figures that people quote of classes and numbers.

K  classes
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["classified", "confusion", "regressed"]


def confusion(
    truth: NDArray[np.int64], found: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Return how often each class was taken for each: [K, K], truth by rows.

    Example:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    counts = np.bincount(truth * classes + found, minlength=classes**2)
    return counts.reshape(classes, classes)


def classified(counts: NDArray[np.int64]) -> dict[str, float]:
    """Return accuracy and macro F1 of a confusion matrix.

    F1 is 2 · right / (true + taken); its mean is over the classes that there are or that were
    found, each weighing the same.

    Example:
        >>> classified(np.array([[1, 1], [0, 1]]))["macro F1"]
        0.6666666666666666
    """
    right, true, taken = counts.diagonal(), counts.sum(1), counts.sum(0)
    there = true + taken > 0
    f1 = 2 * right[there] / (true + taken)[there]
    return {"accuracy": float(right.sum() / counts.sum()), "macro F1": float(f1.mean())}


def regressed(truth: NDArray[np.float64], found: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean absolute error, the root of the mean squared one, and the share explained.

    R² is 1 less the squared error as a share of that of the mean of the truth; left out where the
    truth is one number throughout.

    Example:
        >>> regressed(np.array([0.0, 4.0]), np.array([2.0, 2.0]))
        {'MAE': 2.0, 'RMSE': 2.0, 'R²': 0.0}
    """
    errors = found - truth
    figures = {
        "MAE": float(np.abs(errors).mean()),
        "RMSE": float(np.sqrt(np.square(errors).mean())),
    }
    if spread := float(np.square(truth - truth.mean()).mean()):
        figures["R²"] = 1 - figures["RMSE"] ** 2 / spread
    return figures
