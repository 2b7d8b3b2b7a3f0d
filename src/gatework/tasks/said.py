"""What a model says at a step, told to people.

A kind of task has one of these, made by its `Judged.said`; numbers are in the data's own unit.

K  steps ahead      Q  quantiles
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor

__all__ = ["Chances", "Fan", "Forecast", "Number", "Said", "Symbol", "Symbols", "known"]


@dataclass(frozen=True)
class Said:
    """What is said."""

    kind: ClassVar[str]

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Symbol:
    """A symbol that may come next in a text."""

    number: int
    label: str
    """It as a sign that can be seen, the character that a byte ends, or the digits of a byte."""
    begins: str
    """Characters that a byte may begin; "" where it ends one."""
    chance: float


@dataclass(frozen=True)
class Symbols(Said):
    """The likeliest next symbols of a text."""

    kind = "symbols"
    read: str
    """The last characters up to here."""
    next: tuple[Symbol, ...]
    coming: Symbol | None
    """The one that comes; None at the end."""


@dataclass(frozen=True)
class Chances(Said):
    """The likeliest classes."""

    kind = "chances"
    names: tuple[str, ...]
    chances: tuple[float, ...]
    truth: str
    """The class that it is; "" where that is not known."""
    chance: float | None
    """Of that class."""

    @classmethod
    def of(cls, scores: Tensor, names: tuple[str, ...], truth: int | None, count: int) -> Chances:
        """Return the likeliest of many classes, and the one that it is.

        Example:
            >>> import torch
            >>> said = Chances.of(torch.tensor([0.0, 9.0, 1.0]), ("a", "b", "c"), 0, 2)
            >>> said.names, said.truth, said.chance
            (('b', 'c'), 'a', 0.00012)
        """
        chances = scores.double().softmax(-1)
        best = chances.topk(min(count, len(names)))
        return cls(
            tuple(names[k] for k in best.indices.tolist()),
            tuple(round(chance, 5) for chance in best.values.tolist()),
            "" if truth is None else names[truth],
            None if truth is None else round(float(chances[truth]), 5),
        )


@dataclass(frozen=True)
class Number(Said):
    """A number."""

    kind = "number"
    value: float | None
    """None where it is not finite."""
    truth: float | None


@dataclass(frozen=True)
class Fan:
    """Quantiles of the next values of one target."""

    name: str
    quantiles: tuple[tuple[float | None, ...], ...]
    """[Q, K]"""
    truth: tuple[float | None, ...]
    """[K]"""


@dataclass(frozen=True)
class Forecast(Said):
    """The next values of each target."""

    kind = "forecast"
    levels: tuple[float, ...]
    """[Q], of the quantiles."""
    times: tuple[float, ...]
    """[K]"""
    targets: tuple[Fan, ...]


def known(values: Iterable[float]) -> tuple[float | None, ...]:
    """Return numbers to five digits, None in the place of those that are not known.

    Example:
        >>> known([1.0, float("nan"), 0.1234567])
        (1.0, None, 0.12346)
    """
    return tuple(float(f"{v:.5g}") if math.isfinite(v) else None for v in values)
