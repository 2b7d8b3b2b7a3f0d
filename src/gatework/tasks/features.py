"""Rows of tables as what layers read.

R  rows      C  columns      F  features      N  sequences
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.scaling import Scaling, fit
from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["Features"]

AT_ONCE = 1 << 16
"""Rows that are looked at together."""
MOST_FEATURES = 100_000


@dataclass(frozen=True, eq=False)
class Features:
    """What becomes of each column: a number is scaled, a text stands as one of its categories.

    A missing value is 0, the mean, and a feature of its own says that it is not there.

    Attributes:
        columns: names of the columns.
        categories: the texts of columns that have some.
        scaling: of all columns; that of a text is not used.
        masked: of each column, whether values of it were missing in what is learned from.
        gaps: scaling of the logarithm of the time since the row before; None where it is no
            feature.
        static: the same of what holds for whole sequences; None where nothing does.
    """

    columns: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    scaling: Scaling
    masked: tuple[bool, ...]
    gaps: Scaling | None = None
    static: Features | None = None

    @classmethod
    def fit(
        cls, sequences: Sequences, indices: NDArray[np.int64], *, with_gaps: bool = False
    ) -> Features:
        """Return what suits some sequences.

        Args:
            sequences: all.
            indices: those that are learned from.
            with_gaps: make the time since the row before a feature.

        Raises:
            InputError: gaps are asked for where there are no times.
        """
        missing = np.zeros(len(sequences.columns), bool)

        def pieces() -> Iterator[NDArray[Any]]:
            for piece in _pieces(sequences, indices):
                np.logical_or(missing, np.isnan(piece).any(0), out=missing)
                yield piece

        scaling = fit(pieces())
        gaps = fit(_gap_pieces(sequences, indices)) if with_gaps else None
        whole = _whole(sequences)
        return cls(
            sequences.columns,
            _own_categories(sequences),
            scaling,
            tuple(map(bool, missing)),
            gaps,
            None if whole is None else cls.fit(whole, indices),
        )

    @property
    def names(self) -> list[str]:
        """What the features are."""
        names = []
        for column, masked in zip(self.columns, self.masked, strict=True):
            texts = self.categories.get(column)
            names += [f"{column} = {text}" for text in texts] if texts else [column]
            names += [f"{column} is there"] if masked and not texts else []
        return names + ["gap"] * (self.gaps is not None)

    @property
    def size(self) -> int:
        """F."""
        return len(self.names)

    def places(self, columns: Collection[str]) -> list[int]:
        """Return which features are of some columns, but not those that say what is there."""
        return [
            k
            for k, name in enumerate(self.names)
            if name in columns or name.partition(" = ")[0] in columns
        ]

    @property
    def static_size(self) -> int:
        """How many features there are of what holds for whole sequences."""
        return 0 if self.static is None else self.static.size

    def of(
        self, values: NDArray[Any], times: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """Return the features [R, F] of the rows of one sequence [R, C]."""
        scaled = self.scaling.apply(values)
        there = ~np.isnan(scaled)
        parts: list[NDArray[Any]] = []
        for k, (column, masked) in enumerate(zip(self.columns, self.masked, strict=True)):
            if column in self.categories:
                codes = np.arange(len(self.categories[column]))
                parts.append(values[:, k : k + 1] == codes)
                continue
            parts.append(np.where(there[:, k : k + 1], scaled[:, k : k + 1], 0.0))
            if masked:
                parts.append(there[:, k : k + 1])
        if self.gaps is not None:
            parts.append(self.gaps.apply(log_gaps(times, len(values))))
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")

    def there(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which features [R, F] of rows [R, C] are known; those that say so always are."""
        known = ~np.isnan(values)
        parts: list[NDArray[np.bool_]] = []
        for k, (column, masked) in enumerate(zip(self.columns, self.masked, strict=True)):
            texts = self.categories.get(column)
            parts.append(np.repeat(known[:, k : k + 1], len(texts) if texts else 1, axis=1))
            if masked and not texts:
                parts.append(np.ones((len(values), 1), bool))
        if self.gaps is not None:
            parts.append(np.ones((len(values), 1), bool))
        return np.concatenate(parts, axis=1)

    def placed(self, sequences: Sequences) -> Sequences:
        """Return other sequences with the columns and the numbers of categories of these.

        Raises:
            InputError: a column is missing, or has texts where these have numbers.
        """
        placed = _placed(self, sequences)
        if self.static is None:
            return replace(placed, static_columns=(), static=None)
        whole = _whole(sequences)
        if whole is None:
            raise _without(sequences, self.static.columns[0], self.static)
        static = self.static.placed(whole)
        return replace(
            placed,
            static_columns=static.columns,
            static=static.values,
            categories={**placed.categories, **static.categories},
        )

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "columns": list(self.columns),
            "categories": {name: list(texts) for name, texts in self.categories.items()},
            "scaling": self.scaling.as_data(),
            "masked": list(self.masked),
            "gaps": self.gaps and self.gaps.as_data(),
            "static": self.static and self.static.as_data(),
        }

    @classmethod
    def of_data(cls, data: Any) -> Features:
        """Return what `as_data` wrote down.

        Raises:
            InputError: it is damaged.
        """
        try:
            columns = tuple(str(name) for name in data["columns"])
            categories = {
                str(n): tuple(str(t) for t in texts) for n, texts in data["categories"].items()
            }
            masked = tuple(bool(m) for m in data["masked"])
            fits = len(masked) == len(columns) and set(categories) <= set(columns)
            gaps, static = data["gaps"], data["static"]
            static = static if static is None else {**static, "static": None}
        except (KeyError, TypeError, AttributeError, ValueError):
            fits = False
        if not fits or len(columns) + sum(map(len, categories.values())) > MOST_FEATURES:
            raise InputError(
                "a run whose columns are not described",
                "columns, categories and scaling as the run wrote them down",
                "restore its config.yaml, or train again",
            )
        scaling = Scaling.of_data(data.get("scaling"), len(columns))
        return cls(
            columns,
            categories,
            scaling,
            masked,
            None if gaps is None else Scaling.of_data(gaps, 1),
            None if static is None else cls.of_data(static),
        )


def log_gaps(times: NDArray[np.float64] | None, rows: int) -> NDArray[np.float32]:
    """Return log(1 + time since the row before) [R, 1], 0 for the first row of a sequence."""
    if times is None:
        raise InputError(
            "gaps in time as a feature, without times",
            "a column with the time of each row",
            "name it with --time-column, or leave out --gaps",
        )
    gaps = np.diff(times, prepend=times[:1])
    return np.log1p(np.maximum(gaps, 0)).astype(np.float32).reshape(rows, 1)


def _pieces(sequences: Sequences, indices: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The rows of some sequences, a part at a time."""
    for index in indices.tolist():
        rows = sequences.rows(index)
        for begin in range(rows.start, rows.stop, AT_ONCE):
            yield sequences.values[begin : min(rows.stop, begin + AT_ONCE)]


def _gap_pieces(sequences: Sequences, indices: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    for index in indices.tolist():
        rows = sequences.rows(index)
        times = None if sequences.times is None else sequences.times[rows]
        yield log_gaps(times, rows.stop - rows.start)


def _own_categories(sequences: Sequences) -> dict[str, tuple[str, ...]]:
    """The categories of the columns that rows have."""
    texts = sequences.categories
    return {name: texts[name] for name in sequences.columns if name in texts}


def _whole(sequences: Sequences) -> Sequences | None:
    """What holds for whole sequences, as N sequences of one row; None where nothing does."""
    if sequences.static is None or not sequences.static_columns:
        return None
    return Sequences(
        sequences.name,
        sequences.sha256,
        sequences.static_columns,
        sequences.static,
        np.arange(len(sequences) + 1),
        sequences.ids,
        categories=sequences.categories,
    )


def _without(sequences: Sequences, name: str, features: Features) -> InputError:
    return InputError(
        f"{sequences.name} without the column {name!r}",
        f"the columns that the model reads: {', '.join(features.columns)}",
        "add it, or rename the one that has its values",
    )


def _placed(features: Features, sequences: Sequences) -> Sequences:
    if missing := [name for name in features.columns if name not in sequences.columns]:
        raise _without(sequences, missing[0], features)
    order = [sequences.column(name) for name in features.columns]
    values = sequences.values
    if order != list(range(len(sequences.columns))):
        values = values[:, order]
    if _own_categories(sequences) != dict(features.categories):
        values = np.array(values)
        for k, name in enumerate(features.columns):
            values[:, k] = _renumbered(features, sequences, name, values[:, k])
    return replace(
        sequences, columns=features.columns, values=values, categories=features.categories
    )


def _renumbered(
    features: Features, sequences: Sequences, name: str, codes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A column with the numbers that its texts have in the model; those it has not seen are NaN."""
    here, known = sequences.categories.get(name), features.categories.get(name)
    if (here is None) != (known is None):
        came, expected = ("texts", "numbers") if here else ("numbers", "texts")
        raise InputError(
            f"{sequences.name}: {came} in the column {name!r}",
            f"{expected}, as in what the model has learned from",
            "correct the column",
        )
    if here is None or known is None:
        return codes
    numbers = np.array([known.index(t) if t in known else np.nan for t in here], np.float32)
    there = ~np.isnan(codes)
    found = np.full(len(codes), np.nan, np.float32)
    found[there] = numbers[codes[there].astype(int)]
    return found
