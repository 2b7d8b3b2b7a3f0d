"""Numbers that lie on the disk, of which only what is looked at takes memory."""

from __future__ import annotations

import mmap
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Mapped", "Scratch"]

MOST_LOOKED_AT = 1 << 27
"""Bytes that are read through a mapping before what is in memory of it is let go."""

AROUND = 1 << 21
"""Bytes that the system may map at once, however few are asked for: a large page."""


class Mapped(np.memmap[Any, Any]):
    """A file as an array, whose parts do not stay in memory after they were read.

    The system keeps what was read as long as there is room; but it counts as this process's
    memory, which would seem to grow to the size of the file.
    """

    _looked_at = 0

    def __getitem__(self, key: Any) -> Any:
        """Return a part, as a plain array."""
        if self._looked_at > MOST_LOOKED_AT:
            self.let_go()
        self._looked_at += self._mapped_by(key)
        found = super().__getitem__(key)
        return found.view(np.ndarray) if isinstance(found, np.ndarray) else found

    def _mapped_by(self, key: Any) -> int:
        """Bytes that are mapped when a part is read: whole rows, and some before and after."""
        rows = key[0] if isinstance(key, tuple) else key
        if isinstance(rows, slice):
            return AROUND + len(range(*rows.indices(len(self)))) * int(self.strides[0])
        places = np.asarray(rows)
        if places.dtype.kind not in "iu":  # a mask, or everything
            return int(self.nbytes)
        if not places.size:
            return 0
        span = int(np.ptp(places)) * int(self.strides[0])
        return min(AROUND * places.size, AROUND + span)

    def let_go(self) -> None:
        """Let go what is in memory; what is looked at again is read again."""
        self._looked_at = 0
        file, advice = getattr(self, "_mmap", None), getattr(mmap, "MADV_DONTNEED", None)
        if file is not None and advice is not None:
            file.madvise(advice)


class Scratch:
    """A file without a name: rows are written to it, then it is an array.

    It is gone when nobody has the array any more, or the process has ended, however it did.

    Example:
        >>> with Scratch(np.float32, 2) as scratch:
        ...     scratch.write(np.ones((3, 2)))
        ...     rows = scratch.rows()
        >>> rows.shape
        (3, 2)
    """

    def __init__(self, dtype: DTypeLike, columns: int | None = None) -> None:
        self._dtype: Any = np.dtype(dtype)
        self._row = () if columns is None else (columns,)
        self._count = 0
        self._file = TemporaryFile()  # noqa: SIM115 - closed where this is left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._count += len(rows)

    def rows(self) -> NDArray[Any]:
        """Return all that was written; it lives on when the scratch is left."""
        shape = (self._count, *self._row)
        if 0 in shape:
            return np.empty(shape, self._dtype)
        self._file.flush()
        return Mapped(self._file, self._dtype, "r", shape=shape)
