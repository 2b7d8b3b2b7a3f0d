"""Numbers of any size as numbers around 0, by what is learned from alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.errors import InputError

__all__ = ["Scaling", "fit"]


@dataclass(frozen=True, eq=False)
class Scaling:
    """The mean and the deviation of each column.

    Example:
        >>> scaling = fit([np.array([[1.0, 5.0], [3.0, 5.0]])])
        >>> scaling.apply(np.array([[5.0, 6.0]])).tolist()
        [[3.0, 1.0]]
        >>> scaling.undo(np.array([[3.0]]), [0]).tolist()
        [[5.0]]
    """

    means: NDArray[np.float64]
    scales: NDArray[np.float64]

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values [..., columns] with mean 0 and deviation 1."""
        return ((values - self.means) / self.scales).astype(np.float32)

    def undo(self, values: NDArray[Any], columns: Sequence[int]) -> NDArray[np.float64]:
        """Return values [..., some columns] as they were."""
        at = list(columns)
        found: NDArray[np.float64] = values * self.scales[at] + self.means[at]
        return found

    def as_data(self) -> dict[str, list[float]]:
        """Return it as JSON data."""
        return {"means": self.means.tolist(), "scales": self.scales.tolist()}

    @classmethod
    def of_data(cls, data: Any, columns: int) -> Scaling:
        """Return what `as_data` wrote down.

        Raises:
            InputError: it is not that of so many columns.
        """
        try:
            means, scales = (np.array(data[k], np.float64) for k in ("means", "scales"))
        except (KeyError, TypeError, ValueError):
            means = scales = np.empty(0)
        fits = means.shape == scales.shape == (columns,)
        if not fits or not np.isfinite([means, scales]).all() or not (scales > 0).all():
            raise InputError(
                f"a scaling that is not one of {columns} columns",
                "means and scales as the run wrote them down",
                "restore its config.yaml, or train again",
            )
        return cls(means, scales)


def fit(pieces: Iterable[NDArray[Any]]) -> Scaling:
    """Return the scaling of rows [_, columns] that come piece by piece; missing values are NaN.

    Raises:
        InputError: there is no row.
    """
    count: Any = 0
    mean: Any = 0
    squares: Any = 0
    for piece in pieces:  # Chan, Golub & LeVeque 1979: means and squares of parts put together
        there = ~np.isnan(piece)
        own = there.sum(0)
        safe = np.maximum(own, 1)
        own_mean = np.where(there, piece, 0).sum(0, dtype=np.float64) / safe
        spread = np.square(np.where(there, piece - own_mean, 0)).sum(0, dtype=np.float64)
        total = count + own
        apart = own_mean - mean
        squares = squares + spread + apart**2 * count * own / np.maximum(total, 1)
        mean = mean + apart * own / np.maximum(total, 1)
        count = total
    if np.ndim(count) == 0:
        raise InputError("no rows to learn from", "some", "hold out less")
    deviation = np.sqrt(squares / np.maximum(count, 1))
    return Scaling(mean, np.where(deviation > 1e-12 * np.maximum(np.abs(mean), 1), deviation, 1.0))
