"""Ctrl-C as a request to end in good order."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupt"]


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is noted and the second acts as it always does.

    Python runs the handler between two of its own instructions, so what is being computed or
    written when the signal comes is finished first.

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
        self._former = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """What a process that was ended by the signal returns: 128 + its number, 130 for Ctrl-C."""
        return 128 + (self._signal or 0)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
