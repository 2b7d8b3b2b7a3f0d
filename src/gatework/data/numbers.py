"""Columns of tables as numbers: texts become the numbers of categories."""

from __future__ import annotations

from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatework.errors import InputError
from gatework.needed import needed

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MISSING", "NumberColumns", "Place"]

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
"""How people write that a value is missing."""
MOST_CATEGORIES = 1000
"""Different texts of a column that is no number."""
SOME = 0.5
"""Share of texts that are numbers above which the others are taken for mistakes."""
THOUSANDS = r"^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$"
DAY, HOUR = 86_400, 3.6e12
"""In seconds; in nanoseconds."""


@dataclass(frozen=True)
class Place:
    """Where in a table some rows stand."""

    file: str
    before: int = 0
    """Rows that stand before them."""
    decimal_comma: bool = False
    """Whether decimals are written 1,5."""

    def row(self, wrong: NDArray[np.bool_]) -> str:
        """Name the first row that is wrong."""
        return f"in row {self.before + int(wrong.argmax()) + 1:,}"


@dataclass
class NumberColumns:
    """Takes columns part by part, and remembers what it has seen of each.

    Attributes:
        categories: of each column of texts, the number of each text.
        numeric: columns with numbers.
    """

    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    numeric: set[str] = field(default_factory=set)

    def take(self, series: pl.Series, place: Place) -> NDArray[np.float32]:
        """Return a part of a column as numbers; NaN where a value is missing.

        Raises:
            InputError: a value fits neither numbers nor a few texts.
        """
        pl = needed("polars", "tables")
        if series.dtype in (pl.String, pl.Categorical, pl.Enum):
            return self._texts(_stripped(series), place)
        numbers = _plain(series, place)
        if series.name in self.categories and series.len() > series.null_count():
            return self._codes(series.cast(pl.String), place)
        return self._checked(numbers, series.name, place)

    def nothing_in(self, name: str) -> bool:
        """Whether all values of a column were missing."""
        return name not in self.numeric and name not in self.categories

    def _checked(self, numbers: pl.Series, name: str, place: Place) -> NDArray[np.float32]:
        found: NDArray[np.float32] = numbers.cast(needed("polars", "tables").Float32).to_numpy()
        if (infinite := np.isinf(found)).any():
            raise InputError(
                f"{place.file}: an infinite number in column {name!r} {place.row(infinite)}",
                "numbers below 3e38, or nothing where one is missing",
                "correct it",
            )
        if not np.isnan(found).all():
            self.numeric.add(name)
        return found

    def _texts(self, series: pl.Series, place: Place) -> NDArray[np.float32]:
        """Numbers that are written as texts, or texts."""
        pl = needed("polars", "tables")
        decimal = series.str.replace(",", ".", literal=True) if place.decimal_comma else series
        numbers = decimal.cast(pl.Float64, strict=False)
        there = series.is_not_null().to_numpy()
        wrong = there & numbers.is_null().to_numpy()
        if series.name in self.categories:
            return self._codes(series, place)
        if not wrong.any():
            return self._checked(numbers, series.name, place)
        if series.name in self.numeric or wrong.sum() < SOME * there.sum():
            raise _no_number(series, wrong, place, "a number, as in its other rows")
        if series.filter(pl.Series(wrong)).str.contains(THOUSANDS).all():
            raise _no_number(series, wrong, place, "a number without commas between its digits")
        return self._codes(series, place)

    def _codes(self, series: pl.Series, place: Place) -> NDArray[np.float32]:
        pl = needed("polars", "tables")
        known = self.categories.setdefault(series.name, {})
        for text in series.unique(maintain_order=True).drop_nulls():
            known.setdefault(text, len(known))
        if len(known) > MOST_CATEGORIES:
            raise InputError(
                f"{place.file}: more than {MOST_CATEGORIES:,} different texts in {series.name!r}",
                "a column of numbers, or of a few texts",
                f"leave it out: --ignore {quote(series.name)}; or say what it is, such as --id",
            )
        codes: NDArray[np.float32] = series.replace_strict(
            known, return_dtype=pl.Float32
        ).to_numpy()
        return codes


def _stripped(series: pl.Series) -> pl.Series:
    """Texts without blanks around them; null where they say that a value is missing."""
    pl = needed("polars", "tables")
    texts = series.cast(pl.String).str.strip_chars()
    found: Any = texts.replace(dict.fromkeys(MISSING))
    return found  # type: ignore[no-any-return]


def _plain(series: pl.Series, place: Place) -> pl.Series:
    """Numbers and truth values as they are, dates in days, times of the day in hours."""
    pl = needed("polars", "tables")
    if series.dtype == pl.Time:
        return series.cast(pl.Int64) / HOUR
    if series.dtype == pl.Duration:
        return series.dt.total_seconds() / DAY
    if series.dtype.is_temporal():
        return series.cast(pl.Datetime("us")).dt.epoch("s") / DAY
    if series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null):
        return series
    raise InputError(
        f"{place.file}: column {series.name!r} of the type {series.dtype}",
        "numbers, truth values, dates or texts",
        f"leave it out: --ignore {quote(series.name)}",
    )


def _no_number(
    series: pl.Series, wrong: NDArray[np.bool_], place: Place, expected: str
) -> InputError:
    value = series[int(wrong.argmax())]
    return InputError(
        f"{place.file}: {value!r} in column {series.name!r} {place.row(wrong)}",
        f"{expected}, or nothing where it is missing",
        f"correct it, or leave the column out: --ignore {quote(series.name)}",
    )
