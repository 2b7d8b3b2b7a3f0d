"""What is made once for all who ask for the same, and goes when nobody needs it any more.

Shared        equal things are one, for as long as somebody uses it
of_the_cell   what a function makes of a cell is kept for as long as the cell lives
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from gatework.forking import brief_lock

if TYPE_CHECKING:
    from gatework.lang.definition import Cell

T = TypeVar("T")
P = ParamSpec("P")


class Shared(Generic[T]):
    """Things by what they are made of: who asks for an equal one gets the same.

    Each is kept by those who use it, not by the table.

    Example:
        >>> class Row(list): ...
        >>> rows = Shared[Row]()
        >>> row = rows.get((1, 2), lambda: Row([1, 2]))
        >>> rows.get((1, 2), lambda: Row([1, 2])) is row, len(rows)
        (True, 1)
        >>> del row
        >>> len(rows)
        0
    """

    def __init__(self) -> None:
        self._things: WeakValueDictionary[Hashable, T] = WeakValueDictionary()
        self._lock = brief_lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of this key, made if there is none.

        Where several threads come at once each may make one, and all get that which was first.
        """
        found = self._things.get(key)
        if found is None:
            made = make()
            with self._lock:
                found = self._things.setdefault(key, made)
        return found

    def __len__(self) -> int:
        return len(self._things)


def of_the_cell(
    most: int,
) -> Callable[[Callable[Concatenate[Cell, P], T]], Callable[Concatenate[Cell, P], T]]:
    """Keep what a function of a cell gives, the latest results for each cell, while the cell lives.

    A result must not refer to the cell, which would then never go; it may be the cell itself.

    Args:
        most: How many results for different further arguments, which must be hashable.
    """

    def decorate(
        function: Callable[Concatenate[Cell, P], T],
    ) -> Callable[Concatenate[Cell, P], T]:
        tables: WeakKeyDictionary[Cell, Callable[P, T | None]] = WeakKeyDictionary()

        @wraps(function)
        def kept(cell: Cell, /, *args: P.args, **kwargs: P.kwargs) -> T:
            results = tables.get(cell)
            if results is None:
                results = tables.setdefault(cell, _table(function, ref(cell), most))
            found = results(*args, **kwargs)
            return cell if found is None else found  # type: ignore[return-value]

        return kept

    return decorate


def _table(
    function: Callable[Concatenate[Cell, P], T], its: ref[Cell], most: int
) -> Callable[P, T | None]:
    """The function for one cell, to which it has no strong reference; None stands for the cell."""

    def made(*args: P.args, **kwargs: P.kwargs) -> T | None:
        cell = its()
        assert cell is not None  # it is alive: it has just been asked about
        found = function(cell, *args, **kwargs)
        return None if found is cell else found

    return lru_cache(most, typed=True)(made)  # type: ignore[return-value]
