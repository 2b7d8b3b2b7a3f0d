"""Rows of tables put together as sequences: in order, their texts as numbers, their gaps filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.needed import needed
from gatework.data.parts import Parts
from gatework.data.sequences import Sequences
from gatework.data.times import filled, in_order
from gatework.errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rows"]

MOST_CATEGORIES = 1000
"""Different texts of a column that is no number."""
NUMBERS = 0.5
"""Share of texts that are numbers above which the others are taken for mistakes."""


@dataclass
class Rows:
    """Takes tables part by part, then gives the sequences in them.

    Args:
        parts: of the columns.
        kind: of the task.
    """

    parts: Parts
    kind: str
    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    dated: bool = False
    _count: int = 0

    def __post_init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as what is mapped of it
        self._ids: list[Any] = []
        self._times: list[NDArray[np.float64]] = []
        self._labels: list[Any] = []
        self._numbers = [*self.parts.values, *self.parts.static]

    @property
    def needed(self) -> list[str]:
        """The columns that are read."""
        parts = self.parts
        labels = () if self.kind == "forecast" else parts.target
        named = (parts.id, parts.time, *self._numbers, *labels)
        return list(dict.fromkeys(name for name in named if name is not None))

    def add(self, frame: pl.DataFrame, place: str) -> None:
        """Take some rows.

        Raises:
            InputError: a value is not what its column is for.
        """
        columns = [self._column(frame[name], place) for name in self._numbers]
        self._file.write(np.stack(columns, axis=1).astype(np.float32).tobytes())
        if self.parts.id is not None:
            self._ids.append(self._told(frame, self.parts.id, place).cast(_polars().String))
        if self.parts.time is not None:
            self._times.append(self._seconds(self._told(frame, self.parts.time, place), place))
        if self.kind != "forecast":
            self._labels.append(frame[self.parts.target[0]])
        self._count += len(frame)

    def _told(self, frame: pl.DataFrame, name: str, place: str) -> pl.Series:
        """A column in which no value is missing."""
        series = frame[name]
        if series.null_count():
            row = self._count + int(series.is_null().arg_true()[0]) + 1
            raise InputError(
                f"{place}: nothing in column {name!r} in row {row:,}",
                "a value in every row, since it tells where the row belongs",
                "fill it in, or remove the row",
            )
        return series

    # ---- numbers

    def _column(self, series: pl.Series, place: str) -> NDArray[np.float32]:
        """A column as numbers; of a text, that of its category."""
        pl = _polars()
        if series.dtype.is_temporal():
            series = series.cast(pl.Datetime("us")).dt.epoch("s") / 86_400  # days
        if series.dtype in (pl.String, pl.Categorical, pl.Enum):
            return self._codes(series.cast(pl.String), place)
        if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
            raise InputError(
                f"{place}: column {series.name!r} of the type {series.dtype}",
                "numbers, truth values, dates or texts",
                f"leave it out: --ignore {series.name}",
            )
        numbers: NDArray[np.float32] = series.cast(pl.Float32).to_numpy()
        if np.isinf(numbers).any():
            row = self._count + int(np.isinf(numbers).argmax()) + 1
            raise InputError(
                f"{place}: an infinite number in column {series.name!r} in row {row:,}",
                "numbers below 3e38, or nothing where one is missing",
                "correct it",
            )
        return numbers

    def _codes(self, series: pl.Series, place: str) -> NDArray[np.float32]:
        pl = _polars()
        self._check_no_numbers(series, place)
        known = self.categories.setdefault(series.name, {})
        for text in series.unique(maintain_order=True).drop_nulls():
            known.setdefault(text, len(known))
        if len(known) > MOST_CATEGORIES:
            raise InputError(
                f"{place}: more than {MOST_CATEGORIES:,} different texts in {series.name!r}",
                "a column of numbers, or of a few texts",
                f"leave it out: --ignore {series.name}; or say what it is, such as --id",
            )
        codes: NDArray[np.float32] = series.replace_strict(
            known, return_dtype=pl.Float32
        ).to_numpy()
        return codes

    def _check_no_numbers(self, series: pl.Series, place: str) -> None:
        """Raise where most of the texts are numbers, so that the others are mistakes."""
        numbers = series.cast(_polars().Float64, strict=False)
        there = series.is_not_null().to_numpy()
        wrong = there & numbers.is_null().to_numpy()
        if 0 < wrong.sum() < (1 - NUMBERS) * there.sum():
            at = int(wrong.argmax())
            row = self._count + at + 1
            raise InputError(
                f"{place}: {series[at]!r} in column {series.name!r} in row {row:,}",
                "a number, as in its other rows, or nothing where it is missing",
                f"correct it, or leave the column out: --ignore {series.name}",
            )

    # ---- times

    def _seconds(self, series: pl.Series, place: str) -> NDArray[np.float64]:
        """A column of times as seconds since 1970, or as the plain numbers it has."""
        pl = _polars()
        if series.dtype == pl.String:
            series = self._parsed(series, place)
        if series.dtype.is_temporal():
            self.dated = True
            series = series.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        if not series.dtype.is_numeric():
            raise InputError(
                f"{place}: times of the type {series.dtype} in column {series.name!r}",
                "dates, such as 2026-11-28 or 2026-11-28T17:30:00, or numbers",
                "convert it, or name another with --time-column",
            )
        times: NDArray[np.float64] = series.cast(pl.Float64).to_numpy()
        return times

    def _parsed(self, series: pl.Series, place: str) -> Any:
        pl = _polars()
        found: Any
        try:
            found = series.str.to_datetime(strict=False, time_unit="us")
        except pl.exceptions.ComputeError:  # no format fits the first of them
            found = pl.Series(series.name, [None] * len(series), pl.Datetime("us"))
        if found.null_count():
            at = int(found.is_null().arg_true()[0])
            raise InputError(
                f"{place}: {series[at]!r} in column {series.name!r} in row "
                f"{self._count + at + 1:,} is no time",
                "dates, such as 2026-11-28 or 2026-11-28T17:30:00, or numbers",
                "write all in one form",
            )
        return found

    # ---- sequences

    def sequences(self, name: str, sha256: str) -> Sequences:
        """Return all rows as sequences.

        Raises:
            InputError: two rows have the same time, or the label of a sequence changes in it.
        """
        if not self._count:
            raise InputError(
                f"{name} has a line of names and no row", "rows with numbers", "check the file"
            )
        self._file.flush()
        shape = (self._count, len(self._numbers))
        everything = np.memmap(self._file, np.float32, "r", shape=shape) if shape[1] else None
        codes, ids = self._identities()
        times = np.concatenate(self._times) if self._times else None
        order, notes = in_order(codes, ids, times, self.parts.time or "", dated=self.dated)
        values: Any = everything
        if order is not None:
            values, codes = values[order], codes[order]
            times = None if times is None else times[order]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
        named = [ids[int(codes[start])] for start in starts[:-1]]
        own, whole = len(self.parts.values), len(self.parts.static)
        static = self._static(values[:, own:], starts, named) if whole else None
        found = Sequences(
            name,
            sha256,
            self.parts.values,
            values[:, :own],
            starts.astype(np.int64),
            named,
            times,
            self.dated,
            *self._of_sequences(order, starts, named),
            static_columns=self.parts.static,
            static=static,
            categories={n: tuple(known) for n, known in self.categories.items()},
            notes=notes,
        )
        return filled(found) if self.kind == "forecast" and times is not None else found

    def _identities(self) -> tuple[NDArray[np.int64], list[str]]:
        """The number of each row's sequence, and what sequences are called."""
        if not self._ids:
            return np.zeros(self._count, np.int64), ["series"]
        column = _polars().concat(self._ids)
        ids = column.unique(maintain_order=True)
        known = {text: k for k, text in enumerate(ids)}
        codes = column.replace_strict(known, return_dtype=_polars().Int64).to_numpy()
        return codes, ids.to_list()

    def _static(
        self, values: NDArray[np.float32], starts: NDArray[np.int64], ids: Sequence[str]
    ) -> NDArray[np.float32]:
        for k, name in enumerate(self.parts.static):
            self._check_constant(values[:, k], starts, ids, f"--static {name}")
        return np.array(values[starts[:-1]])

    def _of_sequences(
        self, order: NDArray[np.int64] | None, starts: NDArray[np.int64], ids: Sequence[str]
    ) -> tuple[NDArray[Any] | None, bool]:
        """Labels, and whether they are of rows."""
        if self.kind == "forecast":
            return None, False
        labels = np.concatenate([part.to_numpy() for part in self._labels])
        labels = labels if order is None else labels[order]
        if self.kind == "tag":
            return labels, True
        name = self.parts.target[0]
        self._check_constant(labels, starts, ids, f"--target {name} of a whole sequence")
        return labels[starts[:-1]], False

    def _check_constant(
        self, values: NDArray[Any], starts: NDArray[np.int64], ids: Sequence[str], what: str
    ) -> None:
        """Raise where a value that holds for a whole sequence changes in it."""
        first = np.repeat(values[starts[:-1]], np.diff(starts))
        both_missing = (values != values) & (first != first)
        if (changed := (values != first) & ~both_missing).any():
            at = int(changed.argmax())
            sequence = ids[int(np.searchsorted(starts, at, side="right")) - 1]
            raise InputError(
                f"{what} changes in the sequence {sequence!r}: {first[at]} and {values[at]}",
                "one value for all rows of a sequence",
                "correct it, or predict it row by row: --task tag",
            )


def _polars() -> Any:
    return needed("polars", "tables")
