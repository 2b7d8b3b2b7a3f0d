"""`.ts` files of the UCR/UEA archive.

Lines that begin with @ say what follows: @classLabel true a b c, @targetLabel true, @timestamps.
After @data each line is a case: its channels divided by colons, their values by commas, at the end
the label. Cases may have other lengths, and a ? is a missing value.

The package that reads them elsewhere, aeon, needs a version of llvmlite that this one cannot live
beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatework.data.columns import Columns
from gatework.data.packed import lines_of
from gatework.data.reading import checksum, name_of
from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["likely", "read"]

EXPECTED = "a .ts file of the UCR/UEA archive"


@dataclass
class _Header:
    """What the lines before the data say."""

    words: dict[str, list[str]] = field(default_factory=dict)

    def says(self, word: str) -> bool:
        return self.words.get(word, ["false"])[0].lower() == "true"

    @property
    def label(self) -> str | None:
        """Which kind of label cases have."""
        return next((w for w in ("classlabel", "targetlabel") if self.says(w)), None)


def read(files: Sequence[Path], columns: Columns, kind: str) -> Sequences:
    """Read cases from all files.

    Raises:
        InputError: a file is damaged, or its cases have no label of the kind that is asked for.
    """
    cases: list[NDArray[np.float32]] = []
    labels: list[str] = []
    header = _Header()
    for path in files:
        header = _Header()
        for number, line in _data(path, header):
            _check_header(path, header, kind)
            case, label = _case(path, number, line, labelled=header.label is not None)
            if cases and case.shape[1] != cases[0].shape[1]:
                raise _wrong(path, number, f"{case.shape[1]} channels", str(cases[0].shape[1]))
            _check_label(path, number, header, label)
            cases.append(case)
            labels.append(label)
    if not cases:
        raise InputError(f"no case in {name_of(files)}", "lines after @data", "check the file")
    known = labels if header.label and kind != "read" else None
    return Sequences(
        name_of(files),
        checksum(files),
        tuple(f"channel {k + 1}" for k in range(cases[0].shape[1])),
        np.concatenate(cases),
        np.concatenate([[0], np.cumsum([len(case) for case in cases])]).astype(np.int64),
        [str(k + 1) for k in range(len(cases))],
        labels=_labels(files, known, header) if known else None,
    )


def likely(path: Path, columns: Columns) -> str:
    """Return the kind of task that the labels of a file are for."""
    header = _Header()
    next(_data(path, header), None)
    return "regress" if header.label == "targetlabel" else "classify"


def _data(path: Path, header: _Header) -> Iterator[tuple[int, str]]:
    """The lines of the cases with their numbers; what stands before is put into the header."""
    begun = False
    for number, line in enumerate(lines_of(path), 1):
        text = line.strip()
        if not text or text.startswith(("#", "%")):
            continue
        if text.lower() == "@data":
            begun = True
        elif text.startswith("@"):
            word, *rest = text[1:].split()
            header.words[word.lower()] = rest or ["true"]
        elif begun:
            yield number, text
        else:
            raise _wrong(path, number, f"{text[:40]!r}", "a line that begins with @, up to @data")


def _check_header(path: Path, header: _Header, kind: str) -> None:
    if header.says("timestamps"):
        raise InputError(
            f"{path} has a time for each value", EXPECTED + " without times", "make a table of it"
        )
    if kind == "read":
        return
    wanted = {"classify": "classlabel", "regress": "targetlabel"}.get(kind)
    if wanted is None or (wanted == "targetlabel" and header.label is None):
        raise InputError(
            f"{path} for the task {kind!r}",
            "a task that predicts one thing for each case",
            "write --task classify, or --task regress for targets that are numbers",
        )
    if header.label is None:
        raise InputError(
            f"{path} has no labels", EXPECTED + " that says @classLabel true", "take another"
        )
    if header.label != wanted:
        other = "regress" if wanted == "classlabel" else "classify"
        raise InputError(
            f"{path}, whose labels are {'numbers' if other == 'regress' else 'classes'}, for the "
            f"task {kind!r}",
            "a task that fits them",
            f"write --task {other}",
        )


def _case(path: Path, number: int, line: str, *, labelled: bool) -> tuple[NDArray[np.float32], str]:
    """One case [steps, channels] and its label."""
    *channels, last = line.split(":")
    parts = channels if labelled else [*channels, last]
    if not parts:
        raise _wrong(path, number, "no channel before the label", "values, a colon, the label")
    try:
        rows = [[np.nan if v.strip() == "?" else float(v) for v in p.split(",")] for p in parts]
    except ValueError as error:
        raise _wrong(path, number, str(error), "numbers divided by commas") from None
    longest = max(map(len, rows))
    for row in rows:  # a channel that ends early has nothing more to say
        row.extend([np.nan] * (longest - len(row)))
    return np.array(rows, np.float32).T, last.strip() if labelled else ""


def _check_label(path: Path, number: int, header: _Header, label: str) -> None:
    """Raise where a class is none of those that the header names, if it names some."""
    known = header.words.get("classlabel", [])[1:]
    if header.label == "classlabel" and known and label not in known:
        raise _wrong(path, number, f"the class {label!r}", f"one of {', '.join(known)}")


def _labels(
    files: Sequence[Path], labels: list[str], header: _Header
) -> NDArray[np.str_] | NDArray[np.float64]:
    if header.label == "classlabel":
        return np.array(labels)
    try:
        return np.array([float(label) for label in labels])
    except ValueError as error:
        raise InputError(
            f"a target in {name_of(files)} that is no number ({error})", EXPECTED, "correct it"
        ) from None


def _wrong(path: Path, number: int, came: str, expected: str) -> InputError:
    return InputError(f"{path}, line {number:,}: {came}", expected, "correct the file")
