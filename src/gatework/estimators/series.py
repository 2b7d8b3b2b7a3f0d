"""One series as numbers, and what a forecast of it costs.

Legend: T steps, N targets, F covariates, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.data.sequences import Sequences
from gatework.errors import InputError
from gatework.nn.given import array_of
from gatework.tasks.forecasting import model

Rows = NDArray[np.float64]


def rows_of(what: str, given: Any) -> Rows:
    """A series as [T, n]."""
    given = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    array = array_of(what, np.asarray(given) if isinstance(given, list | tuple) else given)
    if array is None or array.ndim not in (1, 2):
        came = type(given).__name__ if array is None else f"the shape {list(array.shape)}"
        raise InputError(
            f"{what} is {came}",
            "one series, [steps] or [steps, columns]",
            "give an array, a DataFrame or a column; of several series, the columns of one",
        )
    rows = array.astype(np.float64).reshape(len(array), -1)
    if np.isinf(rows).any():
        raise InputError(
            f"{what} has infinite values",
            "finite numbers, or NaN where one is missing",
            "write NaN in their place",
        )
    return rows


def one_sequence(series: Rows, known: Rows) -> Sequences:
    """A series and its covariates as the one sequence of a table."""
    names = [f"y{k}" for k in range(series.shape[1])] + [f"x{k}" for k in range(known.shape[1])]
    values = np.concatenate([series, known], axis=1, dtype=np.float32)
    return Sequences("the series", "", tuple(names), values, np.array([0, len(values)]), ["y"])


def quantile_loss(found: Tensor, wanted: Tensor, levels: Tensor) -> Tensor:
    """The mean quantile loss of quantiles [..., N, Q], over the targets [..., N] that are known."""
    total, known = model.quantile_loss(found, wanted, levels)
    return total / max(1, known)
