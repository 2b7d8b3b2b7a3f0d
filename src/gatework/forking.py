"""Locks that a fork waits for.

A forked child has only the thread that forked. What another thread was in the middle of stays half
done in the child for ever, a lock that it held stays locked, and LLVM, which has locks of its own,
may be left in any state. So a fork first takes all locks listed here, which means that no thread is
in the middle of anything that they guard, and parent and child give them back.

They are always taken in the same order: `building`, under which the others may be taken, then the
others, under which no further one is taken.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")
Lock = AbstractContextManager[Any]

building: Lock = threading.RLock()  # held while a plan becomes machine code
_locks: list[Lock] = [building]
_taken: list[Lock] = []  # by the fork that is under way; another may be listed meanwhile


def hold_at_fork(lock: Lock) -> None:
    """Have forks wait for a lock under which none of those listed here is taken."""
    _locks.append(lock)


def brief_lock() -> Lock:
    """A new lock for what takes a moment and takes no other lock."""
    lock: Lock = threading.RLock()  # the thread that holds it may be the one that forks
    hold_at_fork(lock)
    return lock


def _take_all() -> None:
    for lock in _locks:
        lock.__enter__()
        _taken.append(lock)


def _give_all() -> None:
    while _taken:
        _taken.pop().__exit__(None, None, None)


if hasattr(os, "register_at_fork"):  # where there is no fork there is nothing to do
    os.register_at_fork(before=_take_all, after_in_parent=_give_all, after_in_child=_give_all)


class cached_property(Generic[T]):
    """As `functools.cached_property`, which before Python 3.12 has a lock that a fork copies.

    Two threads that come at once may both make the value; both get the one that was first.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object, owner: type) -> Self | T:
        """The value; it is kept in the instance, where it is found from then on."""
        if instance is None:
            return self
        made = self._make(instance)
        found: T = instance.__dict__.setdefault(self._name, made)
        return found
