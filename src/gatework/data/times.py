"""Times of rows: in order, none twice, gaps found and filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.scratch import Scratch
from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["filled", "gaps_of", "in_order", "step_of", "written"]

EVEN = 0.2
"""Share of the usual step by which steps may differ and still be taken for even, as months do."""
REGULAR = 0.5
"""Share of steps that are the usual one from which on the others are gaps."""
AT_ONCE = 1 << 18
"""Rows that are looked at together."""
LOOKED_AT = 1 << 20
"""Steps by which the usual one is judged."""
MOST_FILLED = 10
"""Times as many rows as there are, at most, after gaps are filled."""


def written(time: float, *, dated: bool) -> str:
    """Write a time as people do.

    Example:
        >>> written(86400.0, dated=True), written(2.5, dated=False)
        ('1970-01-02', '2.5')
    """
    if not dated:
        return f"{time:g}"
    found = datetime.fromtimestamp(time, UTC).replace(tzinfo=None)
    return found.isoformat(" ").removesuffix(" 00:00:00")


def in_order(
    codes: NDArray[np.int32] | None,
    ids: Sequence[str],
    times: NDArray[np.float64] | None,
    column: str,
    *,
    rows: int,
    dated: bool,
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the order in which rows stand by sequence and time, and what is to be said of it.

    Args:
        codes: of each row the number of its sequence; None where there is one sequence.
        ids: what sequences are called.
        times: of the rows.
        column: that of the times.
        rows: how many there are.
        dated: whether times are dates.

    Returns:
        The order, None where they stand in it already; notes.

    Raises:
        InputError: two rows of a sequence have the same time.
    """
    if all(_stand_in_order(codes, times, k) for k in range(0, rows, AT_ONCE)):
        return None, ()
    of_sequence = np.zeros(rows, np.int32) if codes is None else codes
    if times is None:
        return np.argsort(of_sequence, kind="stable"), ()
    order = np.lexsort((times, of_sequence))
    of_sequence, sorted_ = of_sequence[order], np.asarray(times)[order]
    twice = (of_sequence[1:] == of_sequence[:-1]) & (sorted_[1:] == sorted_[:-1])
    if twice.any():
        raise _twice(of_sequence, ids, sorted_, np.flatnonzero(twice), column, dated=dated)
    return order, (f"rows were put in the order of {column!r}",)


def _stand_in_order(
    codes: NDArray[np.int32] | None, times: NDArray[np.float64] | None, begin: int
) -> bool:
    """Whether a part of the rows, and the first one after it, stand by sequence and time."""
    part = slice(begin, begin + AT_ONCE + 1)
    apart: Any = False if codes is None else np.diff(codes[part])
    later: Any = True if times is None else np.diff(times[part]) > 0
    return bool(np.all((apart > 0) | ((apart == 0) & later)))


def _twice(
    codes: NDArray[np.int32],
    ids: Sequence[str],
    times: NDArray[np.float64],
    at: NDArray[np.int64],
    column: str,
    *,
    dated: bool,
) -> InputError:
    several = len(ids) > 1
    shown = [
        written(times[k], dated=dated) + (f" in {ids[codes[k]]!r}" if several else "")
        for k in at[:3]
    ]
    more = f" and {len(at) - 3:,} more" if len(at) > 3 else ""
    return InputError(
        f"times that stand twice in column {column!r}: {', '.join(shown)}{more}",
        "one row of each sequence for each time",
        "remove one of each two; or, if there are several sequences, say which column tells them "
        "apart: --id COLUMN",
    )


def step_of(sequences: Sequences) -> float | None:
    """Return the usual step in time, None where there is none: no times, or irregular ones.

    It is judged by the first rows, at least some thousands of them.
    """
    times = sequences.times
    if times is None:
        return None
    steps = np.diff(times[: LOOKED_AT + 1])
    inner = np.ones(len(steps), bool)
    inner[sequences.starts[1 : np.searchsorted(sequences.starts, len(steps), "right")] - 1] = False
    if not inner.any():
        return None
    usual = float(np.median(steps[inner]))
    even = np.abs(steps[inner] - usual) <= EVEN * usual
    return usual if even.mean() >= REGULAR else None


def filled(sequences: Sequences) -> Sequences:
    """Return sequences with a row, all of it missing, for each time that a gap leaves out.

    So the steps of each are even. Where times are irregular throughout nothing is filled in.

    Raises:
        InputError: gaps are so long that there would be very many such rows.
    """
    usual = step_of(sequences)
    if usual is None:
        irregular = "times are irregular; rows are taken one after the other"
        return replace(sequences, notes=(*sequences.notes, irregular))
    before, missing = _gaps(sequences, usual)
    if not len(before):
        return sequences
    _check_filled(sequences, int(missing.sum()))
    after = np.cumsum(missing)  # rows put in before each row that follows a gap
    starts = sequences.starts.copy()
    starts += np.concatenate([[0], after])[np.searchsorted(before, starts, "left")]
    values, times = _with_missing(sequences, before, missing)
    note = _filling_told(sequences, before, missing)
    notes = (*sequences.notes, note)
    return replace(sequences, values=values, times=times, starts=starts, notes=notes)


def gaps_of(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that follow a gap in time, and how many rows each gap leaves out."""
    usual = step_of(sequences)
    nothing = np.empty(0, np.int64)
    return (nothing, nothing) if usual is None else _gaps(sequences, usual)


def _gaps(sequences: Sequences, usual: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    times: Any = sequences.times
    rows, missing = [], []
    for begin in range(0, len(times), AT_ONCE):
        steps = np.round(np.diff(times[begin : begin + AT_ONCE + 1]) / usual)
        at = np.flatnonzero(steps > 1)
        rows.append(at + begin + 1)
        missing.append(steps[at].astype(np.int64) - 1)
    row = np.concatenate(rows)
    inside = ~np.isin(row, sequences.starts)
    return row[inside], np.concatenate(missing)[inside]


def _with_missing(
    sequences: Sequences, before: NDArray[np.int64], missing: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Values and times with rows put in, a part at a time."""
    times: Any = sequences.times
    columns = len(sequences.columns)
    with Scratch(np.float32, columns) as values, Scratch(np.float64) as moments:
        for begin in range(0, len(times), AT_ONCE):
            own = times[begin : begin + AT_ONCE]
            gaps = slice(*np.searchsorted(before, [begin, begin + len(own)]))
            more = np.zeros(len(own), np.int64)
            more[before[gaps] - begin] = missing[gaps]
            places = np.arange(len(own)) + np.cumsum(more)
            part = np.full((len(own) + more.sum(), columns), np.nan, np.float32)
            part[places] = sequences.values[begin : begin + AT_ONCE]
            values.write(part)
            earlier = times[max(0, begin - 1)]
            moments.write(np.interp(np.arange(len(part)), [-1, *places], [earlier, *own]))
        return values.rows(), moments.rows()


def _filling_told(
    sequences: Sequences, before: NDArray[np.int64], missing: NDArray[np.int64]
) -> str:
    times: Any = sequences.times
    first = written(float(times[before[0] - 1]), dated=sequences.dated)
    where = ""
    if len(sequences) > 1:
        index = int(np.searchsorted(sequences.starts, before[0], "right")) - 1
        where = f" in {sequences.ids[index]!r}"
    rows = "1 row" if missing.sum() == 1 else f"{int(missing.sum()):,} rows"
    gaps = "1 gap" if len(before) == 1 else f"{len(before):,} gaps"
    return f"{rows} missing in {gaps}, the first after {first}{where}; they are taken as unknown"


def _check_filled(sequences: Sequences, missing: int) -> None:
    if missing > MOST_FILLED * len(sequences.values):
        raise InputError(
            f"{missing:,} rows are missing between {len(sequences.values):,} that are there",
            f"times with gaps of at most {MOST_FILLED} times as many rows",
            "check the column of times; or leave the rows far away out",
        )
