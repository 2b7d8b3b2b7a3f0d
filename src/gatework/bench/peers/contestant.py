"""What takes part in a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gatework.bench.problem import Kind, Named, Problem

__all__ = ["Contestant", "Work"]


@dataclass(frozen=True)
class Work:
    """A prepared call.

    Attributes:
        call: What is timed.
        check: Does the same on the problem's own numbers and gives the results by name.
    """

    call: Callable[[], object]
    check: Callable[[], Named]


class Contestant(Protocol):
    """Someone's way of running a cell. Weights, input and threads are the same for all."""

    name: str
    """As tables show it."""

    def absence(self) -> str | None:
        """How to install it, or None when it is installed."""

    def version(self) -> str:
        """The version that is installed."""

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work | None:
        """The call for a problem, or None when there is no counterpart of the cell or the kind."""
