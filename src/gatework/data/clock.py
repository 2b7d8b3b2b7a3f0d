"""Columns of times as numbers, in the ways that people write times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.numbers import Place
from gatework.errors import InputError
from gatework.needed import needed

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Clock"]

DAY_OR_MONTH = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})([ T]\d{1,2}:\d\d(:\d\d)?)?")
"""28/11/2026, 28.11.2026 17:30 and the like."""
MONTH = re.compile(r"\d{4}-\d{2}")
FIRST_DAY, LAST_DAY = 19_000_101, 21_001_231
"""Whole numbers between these are days written without signs, where they are days at all."""


class Clock:
    """Reads times part by part; how they are written is found in the first part.

    Attributes:
        notes: what was decided that could be wrong.
    """

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        self._dates: bool | None = None
        self._form: str | None = None

    @property
    def dated(self) -> bool:
        """Whether times are dates."""
        return bool(self._dates)

    def seconds(self, series: pl.Series, place: Place) -> NDArray[np.float64]:
        """Return times as seconds since 1970, or as the plain numbers they are.

        Raises:
            InputError: one of them is no time.
        """
        pl = needed("polars", "tables")
        times = self._read(series, place)
        dates = times.dtype in (pl.Date, pl.Datetime)
        if not (dates or times.dtype.is_numeric()) or self._dates not in (None, dates):
            also = "" if self._dates is None else " in some rows, and others in other rows"
            raise InputError(
                f"{place.file}: times of the type {times.dtype} in column {series.name!r}{also}",
                "dates throughout, such as 2026-11-28 or 2026-11-28T17:30:00, or numbers",
                "name another column: --time-column COLUMN",
            )
        self._dates = dates
        if dates:
            times = times.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        numbers: NDArray[np.float64] = times.cast(pl.Float64).to_numpy()
        if (wrong := ~np.isfinite(numbers)).any():
            raise _no_time(series, wrong, place)
        return numbers

    def _read(self, series: pl.Series, place: Place) -> pl.Series:
        pl = needed("polars", "tables")
        if series.dtype != pl.String:
            return _days(series) if series.dtype.is_numeric() else series
        texts = series.str.strip_chars()
        numbers = texts.cast(pl.Float64, strict=False)
        return self._parsed(texts, place) if numbers.null_count() else _days(numbers)

    def _parsed(self, series: pl.Series, place: Place) -> pl.Series:
        """Texts as dates."""
        first = series[0]
        if self._form is None and (found := DAY_OR_MONTH.fullmatch(first)):
            self._form = self._order(series, found)
        if self._form is not None:
            times = series.str.to_datetime(self._form, strict=False)
        else:
            pl = needed("polars", "tables")
            whole = pl.select(series + "-01").to_series() if MONTH.fullmatch(first) else series
            times = _inferred(whole)
        if times.null_count():
            raise _no_time(series, times.is_null().to_numpy(), place)
        return times

    def _order(self, series: pl.Series, found: re.Match[str]) -> str:
        """The form of dates whose first number is a day or a month."""
        sign, clock = found[2], found[5] or ""
        rest = (clock[0] + "%H:%M" + ":%S" * (found[6] is not None)) if clock else ""
        forms = {
            "day": f"%d{sign}%m{sign}%Y{rest}",
            "month": f"%m{sign}%d{sign}%Y{rest}",
        }
        if sign == ".":
            return forms["day"]
        read = {which: series.str.to_datetime(form, strict=False) for which, form in forms.items()}
        fitting = [which for which, times in read.items() if not times.null_count()]
        if len(fitting) < 2:
            return forms[fitting[0] if fitting else "day"]
        which = min(fitting, key=lambda w: read[w].diff().n_unique())  # that with more even steps
        self.notes = (f"{series[0]!r} was read with the {which} first; 2026-11-28 leaves no doubt",)
        return forms[which]


def _days(series: pl.Series) -> pl.Series:
    """Numbers such as 20261128 as the days they are; others as they are."""
    pl = needed("polars", "tables")
    if not series.is_between(FIRST_DAY, LAST_DAY).all():
        return series
    days = series.cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)
    return series if days.null_count() else days


def _inferred(series: pl.Series) -> pl.Series:
    """Dates in one of the forms that polars finds by itself."""
    pl = needed("polars", "tables")
    nothing: Any = pl.Series(series.name, [None] * len(series), pl.Datetime("us"))
    try:
        found: Any = series.str.to_datetime(strict=False, time_unit="us")
    except pl.exceptions.ComputeError:  # no form fits the first of them
        return nothing  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]


def _no_time(series: pl.Series, wrong: NDArray[np.bool_], place: Place) -> InputError:
    return InputError(
        f"{place.file}: {series[int(wrong.argmax())]!r} in column {series.name!r} "
        f"{place.row(wrong)} is no time",
        "dates, such as 2026-11-28 or 2026-11-28T17:30:00, or numbers",
        "write all in one form",
    )
