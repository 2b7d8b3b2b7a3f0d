"""Collections of sequences in the forms that people have, as a list of arrays [T_i, F].

Legend: n sequences, T steps, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gatework.data.scaling import Scaling, fit
from gatework.errors import InputError
from gatework.nn.given import array_of, is_a

Sequences = list[NDArray[np.float64]]
LAYOUTS = ("ntf", "nft")
CHECKS: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}


def sequences_of(estimator: Any, X: Any, *, reset: bool) -> Sequences:
    """The sequences of X, one array [T_i, F] each, NaN where a value is missing.

    Args:
        estimator: Whose `layout` and `n_features_in_` they go by.
        X: A list of [T_i, F] or [T_i]; or [n, T, F]; or [n, T]. With the layout "nft",
            [F, T_i] and [n, F, T].
        reset: Whether X is fitted to: then the estimator's `n_features_in_` is set.
    """
    if isinstance(X, torch.Tensor):
        X = list(X.unbind()) if X.is_nested else X.detach().cpu().numpy()
    turned = estimator.layout == "nft"
    if _is_listed(X):
        found = [_one(k, x, turned) for k, x in enumerate(X)]
        _check_features(estimator, found, reset)
    elif _dimensions(X) == 3:
        cases = check_array(X, allow_nd=True, ensure_min_features=0, **CHECKS)
        found = list(cases.transpose(0, 2, 1) if turned else cases)
        _check_features(estimator, found, reset)
    else:
        found = _series(estimator, X, reset)
    _check_steps(found)
    return found


def _is_listed(X: Any) -> bool:
    """Whether X holds its sequences one by one: arrays, tensors, DataFrames or columns."""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and X.dtype == object and len(X) > 0 and np.ndim(X[0]) > 0
    return isinstance(X, list | tuple) and len(X) > 0 and bool(getattr(X[0], "shape", ()))


def _dimensions(X: Any) -> int:
    """How many axes X has; 2 where it does not tell, as scikit-learn then takes it to have."""
    return int(np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2))


def _one(k: int, x: Any, turned: bool) -> NDArray[np.float64]:
    """One sequence of a list as [T, F]."""
    x = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x
    rows = array_of(f"sequence {k}", x)
    if rows is None or rows.ndim not in (1, 2):
        came = type(x).__name__ if rows is None else f"an array with the shape {list(rows.shape)}"
        raise InputError(
            f"sequence {k} of X is {came}",
            "each sequence as [steps, features] or, of one feature, [steps]",
            "give a list of arrays, tensors or DataFrames",
        )
    if np.isinf(rows).any():
        raise InputError(
            f"sequence {k} of X has an infinite value",
            "finite numbers, or NaN where one is missing",
            "write NaN in its place, or leave the sequence out",
        )
    rows = rows.astype(np.float64)
    if rows.ndim == 1:
        return rows[:, None]
    return rows.T if turned and not is_a("DataFrame", x) else rows


def _series(estimator: Any, X: Any, reset: bool) -> Sequences:
    """Series of one feature and as many steps, [n, T]: for scikit-learn, T features."""
    if reset or estimator._is_table:
        rows = validate_data(estimator, X, reset=reset, **CHECKS)
        estimator._is_table = True
    else:
        rows = check_array(X, **CHECKS)
        _check_features(estimator, [rows[:, None]], reset)
    return list(rows[:, :, None])


def _check_features(estimator: Any, found: Sequences, reset: bool) -> None:
    """Raise unless all sequences have the same features, those of the fit."""
    if reset:
        vars(estimator).pop("feature_names_in_", None)
        estimator.n_features_in_, estimator._is_table = found[0].shape[1], False
    count = 1 if estimator._is_table else estimator.n_features_in_
    for k, rows in enumerate(found):
        if rows.shape[1] != count:
            other = "steps first" if estimator.layout == "nft" else "features first"
            raise InputError(
                f"sequence {k} of X has {rows.shape[1]} features",
                f"{count}, as {'sequence 0' if reset else type(estimator).__name__ + '.fit'} had",
                f"give the same columns; if they are {other}, layout="
                f"{'ntf' if estimator.layout == 'nft' else 'nft'!r}",
            )


def _check_steps(found: Sequences) -> None:
    empty = next((k for k, rows in enumerate(found) if not rows.size), None)
    if empty is not None:
        raise InputError(
            f"sequence {empty} of X has no steps",
            "at least one step in each sequence",
            "leave it out, with its label",
        )


# ---- what layers read --------------------------------------------------------------------------


@dataclass(frozen=True)
class InputScale:
    """What becomes of each feature: it is scaled, and a missing value is 0, its mean.

    Attributes:
        scaling: Of the features of the training sequences.
        masked: Whether some were missing there; then the layers also read which are there.
    """

    scaling: Scaling
    masked: bool

    @classmethod
    def of(cls, sequences: Sequences) -> Self:
        """The scale of some sequences."""
        return cls(fit(sequences), any(bool(np.isnan(x).any()) for x in sequences))

    def apply(self, sequences: Sequences) -> list[NDArray[np.float32]]:
        """Sequences as the layers read them, [T_i, F] or, with a mask behind, [T_i, 2 F]."""
        return [self._applied(self.scaling.apply(x)) for x in sequences]

    def _applied(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        there = ~np.isnan(scaled)
        filled = np.where(there, scaled, np.float32(0))
        return np.concatenate([filled, there], -1, dtype=np.float32) if self.masked else filled


def padded(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Sequences as one tensor [T, B, F], and how many steps each has [B]."""
    inputs = pad_sequence([torch.from_numpy(x) for x in rows])
    return inputs, torch.tensor([len(x) for x in rows])
