"""Rows of tables put together as sequences: in order, their texts as numbers, their gaps filled.

R  rows      N  sequences
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from shlex import quote
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from gatework.data.clock import Clock
from gatework.data.numbers import NumberColumns, Place
from gatework.data.parts import Parts
from gatework.data.scratch import Scratch
from gatework.data.sequences import Sequences
from gatework.data.times import filled, in_order
from gatework.errors import InputError
from gatework.needed import needed

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rows"]

AT_ONCE = 1 << 16
"""Rows that are put into another order at once."""
UNLABELLED = ("forecast", "read")
"""Tasks whose rows have no labels."""


class Rows:
    """Takes tables part by part, then gives the sequences in them.

    Numbers and times are written to files without a name, so that memory holds a part at a time.

    Args:
        parts: of the columns.
        kind: of the task.
        notes: what is to be said already.
    """

    def __init__(self, parts: Parts, kind: str, notes: Sequence[str] = ()) -> None:
        self.parts, self.kind = parts, kind
        self.notes = tuple(notes)
        self.columns, self.clock = NumberColumns(), Clock()
        self._count = 0
        self._known: dict[str, int] = {}
        self._codes: list[NDArray[np.int32]] = []
        self._labels: list[NDArray[Any]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            values, static = len(self.parts.values), len(self.parts.static)
            self._values = stack.enter_context(Scratch(np.float32, values))
            self._static = stack.enter_context(Scratch(np.float32, static))
            self._times = stack.enter_context(Scratch(np.float64))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def needed(self) -> list[str]:
        """The columns that are read."""
        parts = self.parts
        labels = parts.target if self.kind not in UNLABELLED else ()
        named = (parts.id, parts.time, *parts.values, *parts.static, *labels)
        return list(dict.fromkeys(name for name in named if name is not None))

    def add(self, frame: pl.DataFrame, file: str, *, decimal_comma: bool = False) -> None:
        """Take some rows.

        Args:
            frame: these.
            file: where they stand.
            decimal_comma: whether decimals are written 1,5.

        Raises:
            InputError: a value is not what its column is for.
        """
        place = Place(file, self._count, decimal_comma)
        for names, scratch in (
            (self.parts.values, self._values),
            (self.parts.static, self._static),
        ):
            if names:
                columns = [self.columns.take(frame[name], place) for name in names]
                scratch.write(np.stack(columns, axis=1))
        if self.parts.id is not None:
            self._codes.append(self._numbered(_told(frame, self.parts.id, place)))
        if self.parts.time is not None:
            self._times.write(self.clock.seconds(_told(frame, self.parts.time, place), place))
        if self.kind not in UNLABELLED:
            self._labels.append(frame[self.parts.target[0]].to_numpy())
        self._count += len(frame)

    def _numbered(self, series: pl.Series) -> NDArray[np.int32]:
        """The number of each row's sequence."""
        pl = needed("polars", "tables")
        texts = series.cast(pl.String)
        for text in texts.unique(maintain_order=True):
            self._known.setdefault(text, len(self._known))
        codes: NDArray[np.int32] = texts.replace_strict(
            self._known, return_dtype=pl.Int32
        ).to_numpy()
        return codes

    def sequences(self, name: str, sha256: str) -> Sequences:
        """Return all rows as sequences.

        Raises:
            InputError: two rows have the same time, or the label of a sequence changes in it, or
                there is nothing to predict.
        """
        if not self._count:
            raise InputError(
                f"{name} has a line of names and no row", "rows with numbers", "check the file"
            )
        self._check_target(name)
        ids = list(self._known) or ["series"]
        codes = np.concatenate(self._codes) if self._codes else None
        times = self._times.rows() if self.parts.time is not None else None
        order, notes = in_order(
            codes, ids, times, self.parts.time or "", rows=self._count, dated=self.clock.dated
        )
        if order is not None and codes is not None:
            codes = codes[order]
        starts = _starts(codes, self._count)
        named = ids if codes is None else [ids[code] for code in codes[starts[:-1]]]
        found = Sequences(
            name,
            sha256,
            self.parts.values,
            _arranged(self._values.rows(), order),
            starts,
            named,
            None if times is None else _arranged(times, order),
            self.clock.dated,
            *self._of_sequences(order, starts, named),
            static_columns=self.parts.static,
            static=self._of_whole(order, starts, named) if self.parts.static else None,
            categories={n: tuple(known) for n, known in self.columns.categories.items()},
            notes=(*self.notes, *self.clock.notes, *notes, *self._missing()),
            parts=self.parts.by_column,
        )
        _check_rows(found, self.parts, self.kind)
        return filled(found) if self.kind == "forecast" and times is not None else found

    def _check_target(self, name: str) -> None:
        """Raise where what is to be forecast is no number."""
        for target in self.parts.target if self.kind == "forecast" else ():
            if texts := self.columns.categories.get(target):
                raise InputError(
                    f"{name}: texts in {target!r}, which is to be forecast: "
                    f"{', '.join(map(repr, list(texts)[:3]))}",
                    "numbers, written as 1234.5",
                    "correct them; or predict one of a few texts for each row: --task tag",
                )
            if self.columns.nothing_in(target):
                raise InputError(
                    f"{name}: no value in {target!r}, which is to be forecast",
                    "numbers",
                    "name another column: --target COLUMN",
                )

    def _missing(self) -> list[str]:
        """What is to be said of columns without a value."""
        names = (*self.parts.values, *self.parts.static)
        empty = [name for name in names if self.columns.nothing_in(name)]
        return [f"no value at all in {', '.join(map(repr, empty))}"] if empty else []

    def _of_whole(
        self, order: NDArray[np.int64] | None, starts: NDArray[np.int64], ids: Sequence[str]
    ) -> NDArray[np.float32]:
        """What holds for whole sequences [N, columns]."""
        values = np.asarray(_arranged(self._static.rows(), order))
        for k, name in enumerate(self.parts.static):
            written: Any = values[:, k]
            if texts := self.columns.categories.get(name):
                numbers = np.nan_to_num(written, nan=-1).astype(int)
                written = np.array([*texts, None], object)[numbers]
            _check_constant(written, starts, ids, f"--static {name}", f"--inputs {quote(name)}")
        return np.array(values[starts[:-1]])

    def _of_sequences(
        self, order: NDArray[np.int64] | None, starts: NDArray[np.int64], ids: Sequence[str]
    ) -> tuple[NDArray[Any] | None, bool]:
        """Labels, and whether they are of rows."""
        if self.kind in UNLABELLED:
            return None, False
        labels = np.concatenate(self._labels)
        labels = labels if order is None else labels[order]
        if self.kind == "tag":
            return labels, True
        what = f"--target {self.parts.target[0]} of a whole sequence"
        _check_constant(labels, starts, ids, what, "--task tag")
        return labels[starts[:-1]], False


def _told(frame: pl.DataFrame, name: str, place: Place) -> pl.Series:
    """A column in which no value is missing."""
    series = frame[name]
    if series.null_count():
        raise InputError(
            f"{place.file}: nothing in column {name!r} {place.row(series.is_null().to_numpy())}",
            "a value in every row, since it tells where the row belongs",
            "fill it in, or remove the row",
        )
    return series


def _starts(codes: NDArray[np.int32] | None, rows: int) -> NDArray[np.int64]:
    """Where sequences begin."""
    inner = np.empty(0, np.int64) if codes is None else np.flatnonzero(np.diff(codes)) + 1
    return np.concatenate([[0], inner, [rows]]).astype(np.int64)


def _arranged(rows: NDArray[Any], order: NDArray[np.int64] | None) -> NDArray[Any]:
    """Rows in another order, a part at a time."""
    if order is None:
        return rows
    with Scratch(rows.dtype, rows.shape[1] if rows.ndim > 1 else None) as scratch:
        for begin in range(0, len(order), AT_ONCE):
            scratch.write(rows[order[begin : begin + AT_ONCE]])
        return scratch.rows()


def _check_rows(sequences: Sequences, parts: Parts, kind: str) -> None:
    """Raise where every row is a sequence of its own, of which there is nothing to forecast."""
    if kind == "forecast" and sequences.lengths.max() < 2:
        came = f"a single row in each of {len(sequences):,} sequences"
        raise InputError(
            came if len(sequences) > 1 else f"a single row in {sequences.name}",
            "sequences of several rows, to see how they go on",
            f"{parts.id!r} tells sequences apart; if it does not, --ignore {quote(parts.id)}"
            if parts.id and len(sequences) > 1
            else "name a file with more",
        )


def _check_constant(
    values: NDArray[Any], starts: NDArray[np.int64], ids: Sequence[str], what: str, mend: str
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
            f"correct it, or take it row by row: {mend}",
        )
