"""Arrays of numpy: `.npy`, and `.npz` with an array of labels beside the one of values.

Three axes are [cases, channels, steps], as aeon and sktime have them, or where it is said [cases,
steps, channels], as torch and Keras; two are [steps, channels], a single sequence. Cases of unequal
lengths are padded, and have an array of their lengths beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gatework.data.columns import Columns
from gatework.data.likely import likely_of_labels
from gatework.data.parts import channels_of
from gatework.data.reading import checksum, name_of
from gatework.data.rows import UNLABELLED
from gatework.data.scratch import Mapped, Scratch
from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["likely", "read"]

_Arrays: TypeAlias = tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]
AT_ONCE = 1 << 16
"""Steps that are held in memory."""

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
    cases = [
        _cases(p, x, steps_first=columns.steps_first)
        for p, (x, _, _) in zip(files, found, strict=True)
    ]
    lengths = [_lengths(p, x, n) for p, x, (_, _, n) in zip(files, cases, found, strict=True)]
    if len({x.shape[2] for x in cases}) > 1:
        raise InputError(
            f"{name_of(files)} have other numbers of channels", "the same number", "convert them"
        )
    names = [f"channel {k + 1}" for k in range(cases[0].shape[2])]
    chosen = channels_of(names, columns, kind)
    every = np.concatenate(lengths)
    known = None if kind in UNLABELLED else _labels(files, found, lengths, kind)
    return Sequences(
        name_of(files),
        checksum(files),
        chosen,
        _written(files, cases, lengths, [names.index(name) for name in chosen]),
        np.concatenate([[0], np.cumsum(every)]).astype(np.int64),
        [str(k + 1) for k in range(len(every))],
        labels=known,
        per_row=kind == "tag",
    )


def likely(path: Path, columns: Columns) -> str:
    """Return the kind of task that arrays look like: that of their labels, if they have some."""
    values, labels, _ = _loaded(path)
    cases = _cases(path, values, steps_first=columns.steps_first)
    if labels is None:
        return "forecast"
    if labels.shape == cases.shape[:1]:
        return likely_of_labels(labels)
    return "tag"


def _loaded(path: Path) -> _Arrays:
    """Values, labels and lengths of a file."""
    try:
        # An array of objects is refused: reading one would run whatever code it names.
        found = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.memmap):
            return found.view(Mapped), None, None
        if isinstance(found, np.ndarray):
            return found, None, None
        with found:
            arrays = {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        said = " ".join(str(error).split())
        objects = "ickle" in said or "objects" in said
        raise InputError(
            f"{path} holds {'objects' if objects else f'no arrays ({said[:200]})'}",
            EXPECTED,
            "save it with numpy.save, or numpy.savez(path, X=values, y=labels, lengths=lengths) "
            "of values that are padded where lengths are unequal",
        ) from None
    values = next((arrays[name] for name in VALUES if name in arrays), None)
    if values is None:
        raise InputError(
            f"{path} holds {', '.join(arrays) or 'nothing'}",
            EXPECTED,
            "save it with numpy.savez(path, X=values, y=labels)",
        )
    labels = next((arrays[name] for name in LABELS if name in arrays), None)
    return values, labels, next((arrays[name] for name in LENGTHS if name in arrays), None)


def _cases(path: Path, values: NDArray[Any], *, steps_first: bool) -> NDArray[Any]:
    """Values as [cases, steps, channels]."""
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2, 3):
        raise InputError(
            f"{path}: an array of {values.dtype} {list(values.shape)}", EXPECTED, "convert it"
        )
    if values.ndim < 3:
        return values.reshape(1, len(values), -1)
    return values if steps_first else values.swapaxes(1, 2)


def _lengths(path: Path, cases: NDArray[Any], given: NDArray[Any] | None) -> NDArray[np.int64]:
    count, steps, _ = cases.shape
    if given is None:
        return np.full(count, steps, np.int64)
    whole = given.shape == (count,) and given.dtype.kind in "iu"
    if not whole or not ((given >= 1) & (given <= steps)).all():
        raise InputError(
            f"{path}: lengths {given.dtype} {list(given.shape)}",
            f"{count} whole numbers from 1 to {steps}",
            "correct them, and leave out cases without a step",
        )
    lengths: NDArray[np.int64] = given.astype(np.int64)
    return lengths


def _written(
    files: Sequence[Path],
    cases: Sequence[NDArray[Any]],
    lengths: Sequence[NDArray[np.int64]],
    channels: list[int],
) -> NDArray[np.float32]:
    """The rows of all cases one after the other, without what pads them."""
    with Scratch(np.float32, len(channels)) as scratch:
        for path, own, steps in zip(files, cases, lengths, strict=True):
            for k, length in enumerate(steps.tolist()):
                for begin in range(0, length, AT_ONCE):
                    rows = np.asarray(own[k, begin : min(length, begin + AT_ONCE)], np.float32)
                    _check_finite(path, k, begin, rows)
                    scratch.write(rows[:, channels])
        return scratch.rows()


def _check_finite(path: Path, case: int, begin: int, rows: NDArray[np.float32]) -> None:
    if (wrong := np.isinf(rows)).any():
        step, channel = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{path}: an infinite number in case {case + 1:,}, channel {channel + 1}, step "
            f"{begin + step + 1:,}",
            "numbers below 3e38, or NaN where one is missing",
            "correct it",
        )


def _labels(
    files: Sequence[Path],
    found: Sequence[_Arrays],
    lengths: Sequence[NDArray[np.int64]],
    kind: str,
) -> NDArray[Any]:
    """The labels of all cases, or of all their steps."""
    labels = [
        _of_steps(y, n) if kind == "tag" and y is not None else y
        for (_, y, _), n in zip(found, lengths, strict=True)
    ]
    every = np.concatenate(lengths)
    needed, what = (int(every.sum()), "step") if kind == "tag" else (len(every), "case")
    there = [y for y in labels if y is not None]
    came = sum(y.size for y in there)
    if len(there) < len(labels) or came != needed or any(y.ndim != 1 for y in there):
        raise InputError(
            f"{came:,} labels in {name_of(files)} for {needed:,} {what}s",
            f"an array y with one for each {what}, beside X in an .npz file",
            "save both: numpy.savez(path, X=values, y=labels)",
        )
    return np.concatenate(there)


def _of_steps(labels: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Labels [cases, steps] as one for each step, without what pads them."""
    if labels.ndim != 2 or len(labels) != len(lengths):
        return labels
    kept: NDArray[Any] = labels[np.arange(labels.shape[1]) < lengths[:, None]]
    return kept
