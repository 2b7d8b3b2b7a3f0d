"""Held-out data as what looks inside a model reads: sequences of steps, and what stands at them.

A task says of its source which sequences are held out; lens, reports and studio need no more.

N  sequences      T  time steps      F  features
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.data import Character
from gatework.tasks.said import Said

__all__ = ["HeldOut", "Judged", "Place", "Stretch", "Track"]


class Place(NamedTuple):
    """Some steps of a held-out sequence, from `first` up to `last`, but not that."""

    sequence: int
    first: int
    last: int


class Stretch(NamedTuple):
    """Steps of one sequence, as a model reads them: a batch of one."""

    inputs: Tensor
    """int64 [T, 1] or float32 [T, 1, F], as the model's `encode` takes it."""
    more: Mapping[str, Tensor] = {}
    """What the model takes besides, by name: [T, 1, …] of each step, [1, …] of the sequence."""


@dataclass(frozen=True)
class Track:
    """What people see of steps: the characters of a text, or curves.

    Attributes:
        characters: over the steps; their widths add up to T. Empty where there are curves.
        curves: by name the values [T] in the data's own unit, NaN where one is missing; those that
            are predicted stand first.
        labels: what each step is labelled, where steps are; "" where that is not known.
        times: float64 [T], seconds since 1970 or plain numbers; None where steps are counted.
        dated: whether `times` are dates.
        name: what the sequence is called, and the label that it has; "" for a text.
    """

    characters: tuple[Character, ...] = ()
    curves: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    times: NDArray[np.float64] | None = None
    dated: bool = False
    name: str = ""


class HeldOut(ABC):
    """The held-out sequences of a source.

    Attributes:
        lengths: int64 [N], how many steps each has.
        step: what a step is called: "byte", "character" or "step".
    """

    lengths: NDArray[np.int64]
    step: str = "step"

    @abstractmethod
    def read(self, place: Place) -> Stretch:
        """Return steps as a model reads them."""

    @abstractmethod
    def track(self, place: Place) -> Track:
        """Return what stands at steps."""

    @abstractmethod
    def properties(self, place: Place) -> Mapping[str, NDArray[Any]]:
        """Return what units may follow: by name, a number or yes or no at each step [T].

        They have the same names at every place.
        """

    @abstractmethod
    def passage(self, steps: int) -> Place:
        """Return a place that is worth showing, of at most so many steps."""

    def whole(self, sequence: int) -> Place:
        """Return all of a sequence."""
        return Place(sequence, 0, int(self.lengths[sequence]))


class Judged(HeldOut):
    """The held-out sequences of a task, and what is predicted from their steps.

    Attributes:
        labels_wholes: whether a whole sequence has what is predicted, not each step.
        ahead: how many steps after the one from which is predicted the cost of that stands.
    """

    labels_wholes: bool = False
    ahead: ClassVar[int] = 0

    @abstractmethod
    def name(self, sequence: int) -> str:
        """Return what a sequence is called, and the label that it has; "" for a text."""

    def begin(self, sequence: int) -> int:
        """Return the step at which what is held out begins; before it is what was learned from."""
        return 0

    @abstractmethod
    def costs(self, predictions: Tensor, place: Place) -> NDArray[np.float32]:
        """Return what is predicted from each of some steps costs [T]; NaN where it is not known.

        Args:
            predictions: [T, 1, …], as `SequenceModel.so_far` returns them.
            place: the steps.
        """

    @abstractmethod
    def said(self, prediction: Tensor, sequence: int, step: int, count: int) -> Said:
        """Return what is predicted from a step, in words and numbers.

        Args:
            prediction: [1, …], that of the step.
            sequence: which one.
            step: its number in the sequence.
            count: so many of many symbols or classes are told.
        """

    def cost(self, costs: NDArray[np.float32], place: Place) -> float:
        """Return what the costs that stand at some steps are together: NaN if none is known."""
        some = costs[~np.isnan(costs)]
        return float(some.mean()) if len(some) else float("nan")
