"""Many sequences of rows, as every reader of tables and arrays hands them on.

N  sequences      R  rows of all of them together      C  columns of numbers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sequences"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of unequal lengths, one after the other in one array, which may lie on disk.

    Attributes:
        name: what they are, in a few words: the files they were read from.
        sha256: checksum of everything that was read.
        columns: names of the columns of `values`.
        values: float32 [R, C], a row for each step of each sequence; NaN where a value is missing.
            A column of texts holds the numbers of its `categories`.
        starts: int64 [N + 1], where each sequence begins in the rows; the last is R.
        ids: what each sequence is called.
        times: float64 [R], seconds since 1970 or plain numbers, rising in each sequence; None
            where rows are told apart by nothing but their order.
        dated: whether `times` are dates.
        labels: of each sequence [N], or of each row [R]: texts or numbers; None without labels.
        per_row: whether `labels` are of rows.
        static_columns: names of the columns of `static`.
        static: float32 [N, columns], numbers that hold for a whole sequence.
        categories: the texts that a column of texts (also a static one) is made of, in the order
            of their numbers.
        notes: what a reader should know, such as rows that were put in order.
        parts: of each column of the file that is used, what it is for: "id", "time", "target",
            "input", "future" or "static".
    """

    name: str
    sha256: str
    columns: tuple[str, ...]
    values: NDArray[np.float32]
    starts: NDArray[np.int64]
    ids: Sequence[str]
    times: NDArray[np.float64] | None = None
    dated: bool = False
    labels: NDArray[Any] | None = None
    per_row: bool = False
    static_columns: tuple[str, ...] = ()
    static: NDArray[np.float32] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [N], how many rows each has."""
        return np.diff(self.starts)

    def rows(self, index: int) -> slice:
        """Return where the rows of a sequence lie."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def curves(self, rows: slice) -> dict[str, NDArray[np.float32]]:
        """Return the columns of numbers of some rows, by name."""
        values = np.asarray(self.values[rows], np.float32)
        named = enumerate(self.columns)
        return {name: values[:, k] for k, name in named if name not in self.categories}

    def column(self, name: str) -> int:
        """Return the place of a column in `values`."""
        return self.columns.index(name)
