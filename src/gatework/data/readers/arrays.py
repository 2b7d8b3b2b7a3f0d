"""Arrays of numpy: `.npy`, and `.npz` with an array of labels beside the one of values.

Three axes are [cases, channels, steps], as aeon and sktime have them; two are [steps, channels], a
single sequence. An array of objects, each [channels, steps], is one of cases of unequal lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.columns import Columns
from gatework.data.reading import checksum, name_of
from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["read"]

VALUES, LABELS, LENGTHS = ("X", "x", "values"), ("y", "labels"), ("lengths",)
"""Names that arrays of an `.npz` file have."""
EXPECTED = (
    ".npy with numbers [cases, channels, steps] or [steps, channels], or .npz with X, and y for "
    "its labels"
)


def read(files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
    """Read cases from all files.

    Raises:
        InputError: a file holds something else.
    """
    found = [_loaded(path) for path in files]
    values = [_steps_first(path, x) for path, (x, _, _) in zip(files, found, strict=True)]
    lengths = [
        _lengths(path, v, n) for path, v, (_, _, n) in zip(files, values, found, strict=True)
    ]
    labels = [y for _, y, _ in found]
    rows = [_rows(v, n) for v, n in zip(values, lengths, strict=True)]
    if len({part.shape[1] for part in rows}) > 1:
        raise InputError(
            f"{name_of(files)} have other numbers of channels", "the same number", "convert them"
        )
    every = np.concatenate(lengths)
    _check_labels(files, every, labels, kind)
    return Sequences(
        name_of(files),
        checksum(files),
        tuple(f"channel {k + 1}" for k in range(rows[0].shape[1])),
        rows[0] if len(rows) == 1 else np.concatenate(rows),
        np.concatenate([[0], np.cumsum(every)]).astype(np.int64),
        [str(k + 1) for k in range(len(every))],
        labels=None if kind == "forecast" else np.concatenate([y for y in labels if y is not None]),
        per_row=kind == "tag",
    )


def _loaded(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
    """Values, labels and lengths of a file."""
    try:
        found = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found, None, None
        arrays = {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read ({' '.join(str(error).split())[:200]})",
            EXPECTED,
            "save it with numpy.save, or numpy.savez(path, X=values, y=labels, lengths=lengths) "
            "of values that are padded where lengths are unequal",
        ) from None
    values = next((arrays[name] for name in VALUES if name in arrays), None)
    if values is None:
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}", EXPECTED, "rename one")
    labels = next((arrays[name] for name in LABELS if name in arrays), None)
    return values, labels, next((arrays[name] for name in LENGTHS if name in arrays), None)


def _steps_first(path: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    """Values as [cases, steps, channels]."""
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2, 3):
        raise InputError(
            f"{path}: an array of {values.dtype} {list(values.shape)}", EXPECTED, "convert it"
        )
    if values.ndim < 3:
        return np.asarray(values, np.float32).reshape(1, len(values), -1)
    return np.asarray(values, np.float32).swapaxes(1, 2)


def _lengths(
    path: Path, values: NDArray[np.float32], given: NDArray[Any] | None
) -> NDArray[np.int64]:
    cases, steps, _ = values.shape
    if given is None:
        return np.full(cases, steps, np.int64)
    if given.shape != (cases,) or given.dtype.kind not in "iu" or not (given <= steps).all():
        raise InputError(
            f"{path}: lengths {given.dtype} {list(given.shape)}",
            f"{cases} whole numbers from 1 to {steps}",
            "correct them",
        )
    lengths: NDArray[np.int64] = np.maximum(given, 0).astype(np.int64)
    return lengths


def _rows(values: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows of all cases one after the other, without what pads them."""
    cases, steps, channels = values.shape
    if (lengths == steps).all():
        return values.reshape(cases * steps, channels)
    there = np.arange(steps) < lengths[:, None]
    kept: NDArray[np.float32] = values[there]
    return kept


def _check_labels(
    files: Sequence[Path],
    lengths: NDArray[np.int64],
    labels: Sequence[NDArray[Any] | None],
    kind: str,
) -> None:
    if kind == "forecast":
        return
    needed = int(lengths.sum()) if kind == "tag" else len(lengths)
    came = sum(0 if part is None else part.size for part in labels)
    if came != needed or any(part is None or part.ndim != 1 for part in labels):
        what = "row" if kind == "tag" else "case"
        raise InputError(
            f"{came:,} labels in {name_of(files)} for {needed:,} {what}s",
            f"an array y with one for each {what}, beside X in an .npz file",
            "save both: numpy.savez(path, X=values, y=labels)",
        )
