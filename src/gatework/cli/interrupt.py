"""Ctrl-C and SIGTERM: heard at once by every command, or after the step that is being taken.

Everywhere but in training, a signal ends the command where it is: `heard` turns it into an
exception, so that what was begun is put in order on the way out. Training asks `Interrupt` after
each step. A second signal is left to the operating system, which ends the process at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupt", "Signalled", "heard", "kept"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any]


class Signalled(BaseException):
    """A signal has come; its notes say what is kept.

    No `KeyboardInterrupt`, which libraries catch and give a meaning of their own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        """What a process that was ended by the signal returns: 130 for Ctrl-C, 143 for SIGTERM."""


@contextmanager
def heard() -> Iterator[None]:
    """While entered, the first SIGINT or SIGTERM raises `Signalled` in the main thread.

    Example:
        >>> import os
        >>> try:
        ...     with heard():
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ... except Signalled as ended:
        ...     ended.exit_code
        143
    """

    def end(number: int, _frame: FrameType | None) -> None:
        _leave_to_the_system()
        raise Signalled(number)

    former = _handle(end)
    try:
        yield
    finally:
        _restore(former)


@contextmanager
def kept(note: Callable[[], str]) -> Iterator[None]:
    """While entered, a signal is told what is kept of the work it ends.

    Args:
        note: says it; asked when a signal has come.
    """
    try:
        yield
    except Signalled as ended:
        ended.add_note(note())
        raise


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is noted, for a loop that asks after each step.

    Example:
        >>> import os
        >>> with Interrupt() as interrupted:
        ...     while not interrupted():
        ...         os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does
        >>> interrupted.exit_code
        130
    """

    def __enter__(self) -> Self:
        self._signal: int | None = None
        self._former = _handle(self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _restore(self._former)

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """What a process that was ended by the signal returns: 128 + its number, 130 for Ctrl-C."""
        return 128 + (self._signal or 0)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        _leave_to_the_system()


def _handle(handler: Handler) -> dict[int, Any]:
    """Set a handler of both signals; return the former ones. Only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in SIGNALS}


def _restore(former: dict[int, Any]) -> None:
    for number, handler in former.items():
        signal.signal(number, handler)


def _leave_to_the_system() -> None:
    _restore(dict.fromkeys(SIGNALS, signal.SIG_DFL))
