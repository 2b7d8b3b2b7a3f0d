"""Times of rows: in order, none twice, gaps found and filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gatework.data.sequences import Sequences
from gatework.errors import InputError

__all__ = ["filled", "in_order", "step_of", "written"]

EVEN = 0.2
"""Share of the usual step by which steps may differ and still be taken for even, as months do."""
REGULAR = 0.5
"""Share of steps that are the usual one from which on the others are gaps."""
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
    codes: NDArray[np.int64],
    ids: Sequence[str],
    times: NDArray[np.float64] | None,
    column: str,
    *,
    dated: bool,
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the order in which rows stand by sequence and time, and what is to be said of it.

    Args:
        codes: of each row the number of its sequence.
        ids: what sequences are called.
        times: of the rows.
        column: that of the times.
        dated: whether they are dates.

    Returns:
        The order, None where they stand in it already; notes.

    Raises:
        InputError: two rows of a sequence have the same time.
    """
    rising = codes[1:] > codes[:-1]
    if times is None:
        if (rising | (codes[1:] == codes[:-1])).all():
            return None, ()
        return np.argsort(codes, kind="stable"), ()
    same = codes[1:] == codes[:-1]
    if (rising | (same & (times[1:] > times[:-1]))).all():
        return None, ()
    order = np.lexsort((times, codes))
    codes, sorted_ = codes[order], times[order]
    twice = (codes[1:] == codes[:-1]) & (sorted_[1:] == sorted_[:-1])
    if twice.any():
        raise _twice(codes, ids, sorted_, np.flatnonzero(twice), column, dated=dated)
    return order, (f"rows were put in the order of {column!r}",)


def _twice(
    codes: NDArray[np.int64],
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
    """Return the usual step in time, None where there is none: no times, or irregular ones."""
    steps = _steps(sequences)
    if not len(steps):
        return None
    usual = float(np.median(steps))
    even = np.abs(steps - usual) <= EVEN * usual
    return usual if even.mean() >= REGULAR else None


def _steps(sequences: Sequences) -> NDArray[np.float64]:
    """Time between rows that follow each other in a sequence."""
    if sequences.times is None:
        return np.empty(0)
    steps = np.diff(sequences.times)
    inner = np.ones(len(steps), bool)
    inner[sequences.starts[1:-1] - 1] = False
    found: NDArray[np.float64] = steps[inner]
    return found


def filled(sequences: Sequences) -> Sequences:
    """Return sequences with a row, all of it missing, for each time that a gap leaves out.

    So the steps of each are even. Where times are irregular throughout nothing is filled in.

    Raises:
        InputError: gaps are so long that there would be very many such rows.
    """
    usual = step_of(sequences)
    if usual is None or sequences.times is None:
        irregular = "times are irregular; rows are taken one after the other"
        return replace(sequences, notes=(*sequences.notes, irregular))
    steps = np.round(np.diff(sequences.times) / usual).astype(np.int64)
    steps[sequences.starts[1:-1] - 1] = 1
    steps = np.maximum(steps, 1)
    missing = int((steps - 1).sum())
    if not missing:
        return sequences
    _check_filled(sequences, missing)
    places = np.concatenate([[0], np.cumsum(steps)])  # of each row among all
    values = np.full((int(places[-1]) + 1, len(sequences.columns)), np.nan, np.float32)
    values[places] = sequences.values
    times = np.interp(np.arange(len(values)), places, sequences.times)
    starts = np.append(places[sequences.starts[:-1]], len(values)).astype(np.int64)
    gaps = np.flatnonzero(steps > 1)
    first = written(float(sequences.times[gaps[0]]), dated=sequences.dated)
    plural = "gaps" if len(gaps) > 1 else "gap"
    note = f"{missing:,} rows missing in {len(gaps):,} {plural}, the first after {first}"
    notes = (*sequences.notes, f"{note}; they are taken as unknown")
    return replace(sequences, values=values, times=times, starts=starts, notes=notes)


def _check_filled(sequences: Sequences, missing: int) -> None:
    if missing > MOST_FILLED * len(sequences.values):
        raise InputError(
            f"{missing:,} rows are missing between {len(sequences.values):,} that are there",
            f"times with gaps of at most {MOST_FILLED} times as many rows",
            "check the column of times; or leave the rows far away out",
        )
