"""Sequences as people have them, as the tensors that a layer reads.

a DataFrame      one sequence: a row is a step, a column a feature
an array         the tensor of its shape
a list of these  sequences, one each
a nested tensor  sequences too; it goes on as it is

What is no tensor has no dtype of torch's and no device, so it gets the layer's. And since it is
copied anyway, a missing value in it is found. Tensors go on as they are, as in torch.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatework.errors import InputError

NUMBERS = "biuf"  # kinds of numpy dtypes: booleans, integers without and with a sign, floats
FILL = (
    "fill them, as table.ffill() does; or give zero there, and to a cell that reads a mask, such "
    "as gatework.cells.gru_d, what was observed"
)


def as_sequences(layer: str, given: Any, like: Tensor) -> Any:
    """What a layer is given as its input, tensors in the place of DataFrames and arrays.

    Args:
        layer: The layer's name, for errors.
        given: Anything; what is none of these forms is returned as it is.
        like: A tensor of the dtype and on the device of the layer.
    """
    if isinstance(given, list | tuple) and not isinstance(given, PackedSequence):
        _check_columns(layer, given)
        return [_numbers(f"{layer}: element {k}", one, like) for k, one in enumerate(given)]
    return _numbers(f"{layer}: the input", given, like)


def as_rows(what: str, given: Any, like: Tensor) -> Any:
    """A DataFrame, one column of it or an array as a tensor; booleans stay booleans.

    Args:
        what: What it is, for errors.
        given: Anything; what is none of these is returned as it is.
        like: A tensor of the dtype and on the device that numbers get.
    """
    if isinstance(given, Tensor):
        return given
    array = array_of(what, given)
    if array is None:
        return given
    if array.dtype == bool:
        return torch.from_numpy(np.array(array, order="C")).to(like.device)
    _check_whole(what, array, getattr(given, "columns", None))
    exact = np.float64 if like.dtype == torch.float64 else np.float32
    return torch.from_numpy(np.array(array, exact, order="C")).to(like)


def _numbers(what: str, given: Any, like: Tensor) -> Any:
    rows = as_rows(what, given, like)
    return rows.to(like) if rows is not given and rows.dtype == torch.bool else rows


def array_of(what: str, given: Any) -> NDArray[Any] | None:
    """The numbers of a DataFrame, of a column or of an array, NaN where one is missing.

    None of anything else.

    Raises:
        InputError: If something in it is no number.
    """
    if is_a("DataFrame", given):
        return _of_columns(what, list(map(str, given.columns)), list(given.dtypes), given)
    if is_a("Series", given):
        return _of_columns(what, [str(given.name)], [given.dtype], given)
    if not isinstance(given, np.ndarray):
        return None
    if given.dtype.kind not in NUMBERS:
        raise InputError(
            f"{what} is an array of {given.dtype}",
            "an array of numbers or booleans",
            "convert it, array.astype(float); texts and categories need numbers of their own first",
        )
    return given


def is_a(kind: str, given: Any) -> bool:
    """Whether something is of a class of pandas or polars, which need not be installed."""
    libraries = (sys.modules.get(name) for name in ("pandas", "polars"))
    kinds = tuple(getattr(library, kind) for library in libraries if hasattr(library, kind))
    return isinstance(given, kinds)


def _of_columns(what: str, columns: list[str], dtypes: list[Any], table: Any) -> NDArray[Any]:
    kinds = [_kind(dtype) for dtype in dtypes]
    wrong = [f"{c!r} ({d})" for c, d, k in zip(columns, dtypes, kinds, strict=True) if not k]
    if wrong:
        raise InputError(
            f"{what} has columns that are no numbers: {', '.join(wrong[:5])}",
            "a table of numbers and booleans, a row for each step",
            "leave them out, or give texts and categories numbers of their own; a time as the "
            "index or as a gap in seconds",
        )
    array = _values(table)
    flags = set(kinds) == {"b"} and not np.isnan(array).any()
    return array.astype(bool) if flags else array


def _kind(dtype: Any) -> str:
    """A letter: b of booleans, f of other numbers, none of what is no number."""
    if hasattr(dtype, "kind"):  # of pandas
        flag, number = dtype.kind == "b", dtype.kind in NUMBERS
    else:
        flag, number = str(dtype) == "Boolean", dtype.is_numeric()
    return "b" if flag else "f" if number else ""


def _values(table: Any) -> NDArray[Any]:
    """The numbers of a table or column; NaN where one is missing."""
    if hasattr(table, "null_count"):  # polars
        from polars import Float64

        return np.asarray(table.cast(Float64).to_numpy())
    return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))


def _check_whole(what: str, array: NDArray[Any], columns: Any) -> None:
    """Raise where a value is missing."""
    missing = np.isnan(array)
    if not missing.any():
        return
    place = np.argwhere(missing)[0].tolist()
    where = f"{place}" if columns is None else f"row {place[0]}, column {columns[place[1]]!r}"
    raise InputError(
        f"{what} has {int(missing.sum())} missing values (NaN), the first at {where}",
        "a number at every step",
        FILL,
    )


def _check_columns(layer: str, given: Any) -> None:
    """Raise where DataFrames of a list have other columns than the first, or another order."""
    tables = [(k, list(map(str, x.columns))) for k, x in enumerate(given) if is_a("DataFrame", x)]
    for k, columns in tables:
        first, expected = tables[0]
        if columns != expected:
            raise InputError(
                f"{layer}: element {k} of the list has the columns {', '.join(columns)}",
                f"those of element {first}, in its order: {', '.join(expected)}",
                "choose them by name in each: table[columns]",
            )
