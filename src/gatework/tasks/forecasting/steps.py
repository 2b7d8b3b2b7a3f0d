"""The times of steps ahead; months are of unequal length and yet regular."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["times_after"]

DAY = 86_400
SHORTEST = 28 * DAY
"""Seconds of a February."""
LOOKED_AT = 13
"""Last times by which is judged whether there is one a month."""


def times_after(
    times: NDArray[np.float64], step: float, count: int, *, dated: bool
) -> NDArray[np.float64]:
    """Return the times that follow.

    Args:
        times: those there are, at least one.
        step: usual time between them.
        count: how many follow.
        dated: whether they are dates, of which one a month, a quarter or a year goes on so.

    Example:
        >>> march = np.array(["2026-01-31", "2026-02-28", "2026-03-31"], "M8[s]")
        >>> times_after(march.astype(float), 30.5 * 86_400, 2, dated=True).astype("M8[s]")
        array(['2026-04-30T00:00:00', '2026-05-31T00:00:00'],
              dtype='datetime64[s]')
    """
    for from_end in (DAY, 0) if dated else ():  # a day after the end of a month one begins
        months, rest = _in_months(times[-LOOKED_AT:] + from_end)
        apart = np.diff(months)
        if (
            len(apart)
            and apart.min() == apart.max() > 0
            and np.ptp(rest) == 0
            and rest[0] < SHORTEST
        ):
            ahead = months[-1] + apart[0] * np.arange(1, count + 1)
            months_on: NDArray[np.float64] = _begins(ahead) + rest[0] - from_end
            return months_on
    found: NDArray[np.float64] = times[-1] + step * np.arange(1, count + 1)
    return found


def _in_months(times: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The number of each time's month since 1970, and the seconds since it began."""
    months = times.astype("M8[s]").astype("M8[M]").astype(np.int64)
    return months, times - _begins(months)


def _begins(months: NDArray[np.int64]) -> NDArray[np.float64]:
    """When months begin, in seconds since 1970."""
    return months.astype("M8[M]").astype("M8[s]").astype(np.float64)
