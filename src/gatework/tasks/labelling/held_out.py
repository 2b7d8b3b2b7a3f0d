"""The held-out sequences of labelled ones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from gatework.tasks.divided import Side
from gatework.tasks.held_out import Judged, Place, Stretch, Track
from gatework.tasks.labelling.targets import MISSING, Classes
from gatework.tasks.said import Chances, Number, Said, known
from gatework.tasks.task import Batch

if TYPE_CHECKING:
    from gatework.tasks.labelling.labelled import LabelTask

__all__ = ["HeldOutLabels"]

MOST_CLASSES = 20
"""Classes of which each is something that units may follow; of more none is."""
WHOLE = ("static",)
"""What is not of steps, of all that a batch has."""


class HeldOutLabels(Judged):
    """Each sequence that is held out and has a row.

    Args:
        task: what is learned.
        side: the held-out sequences.
    """

    def __init__(self, task: LabelTask, side: Side) -> None:
        self.numbers = np.flatnonzero(side.lengths)
        """int64 [N], the place of each in `side`."""
        self.lengths = side.lengths[self.numbers]
        self.labels_wholes = task.pool is not None
        self._task, self._side = task, side
        self._gathered = lru_cache(1)(self._gather)

    def read(self, place: Place) -> Stretch:
        """Return the features of rows, and what models read beside them."""
        batch = self._gathered(place.sequence)
        steps = slice(place.first, place.last)
        more = {name: v if name in WHOLE else v[steps] for name, v in batch.more.items()}
        return Stretch(batch.inputs[steps], more)

    def _gather(self, sequence: int) -> Batch:
        return self._task.gather(self._side, self.numbers[[sequence]])

    def track(self, place: Place) -> Track:
        """Return the columns of numbers as curves; the label stands in the name."""
        sequences = self._side.sequences
        rows = self._rows(place)
        return Track(
            curves=sequences.curves(rows),
            labels=() if self.labels_wholes else self._labels(place),
            times=None if sequences.times is None else sequences.times[rows],
            dated=sequences.dated,
            name=self.name(place.sequence),
        )

    def _rows(self, place: Place) -> slice:
        start = self._side.sequences.rows(self._index(place.sequence)).start
        return slice(start + place.first, start + place.last)

    def _index(self, sequence: int) -> int:
        return int(self._side.indices[self.numbers[sequence]])

    def _labels(self, place: Place) -> tuple[str, ...]:
        """What steps are labelled."""
        assert self._side.targets is not None
        return tuple(map(self._spelled, self._side.targets[self._rows(place)]))

    def name(self, sequence: int) -> str:
        """Return the id, and the label of a whole sequence."""
        index = self._index(sequence)
        name = self._side.sequences.ids[index]
        if not self.labels_wholes or self._side.targets is None:
            return name
        return f"{name}: {self._spelled(self._side.targets[index])}"

    def _spelled(self, target: NDArray[np.generic]) -> str:
        """A label in words."""
        targets = self._task.targets
        if isinstance(targets, Classes):
            return "" if target == MISSING else targets.names[int(target)]
        return f"{targets.undo(np.array([target]))[0]:.6g}"

    def costs(self, predictions: Tensor, place: Place) -> NDArray[np.float32]:
        """Return nats of classes, squared errors of scaled numbers."""
        truth = torch.from_numpy(self._truth(place))
        if not isinstance(self._task.targets, Classes):
            return (predictions[:, 0, 0] - truth).square().numpy()
        costs = cross_entropy(predictions[:, 0], truth, ignore_index=MISSING, reduction="none")
        return costs.masked_fill(truth == MISSING, torch.nan).numpy()

    def _truth(self, place: Place) -> NDArray[Any]:
        """What is to be predicted at each step, as a number of the head [T]."""
        steps, own = place.last - place.first, self._side.targets
        if own is None:
            return np.full(steps, MISSING if self._task.of_classes else np.nan)
        if self.labels_wholes:
            return np.repeat(own[self._index(place.sequence)], steps)
        return own[self._rows(place)]

    def cost(self, costs: NDArray[np.float32], place: Place) -> float:
        """Return the mean over labelled rows; of one label, what it costs at the end."""
        return super().cost(costs[-1:] if self.labels_wholes else costs, place)

    def said(self, prediction: Tensor, sequence: int, step: int, count: int) -> Said:
        """Return the likeliest classes, or the number."""
        targets = self._task.targets
        truth = self._truth(Place(sequence, step, step + 1))
        if isinstance(targets, Classes):
            own = int(truth[0]) if truth[0] != MISSING else None
            return Chances.of(prediction[0], targets.names, own, count)
        value, wanted = known(targets.undo(np.concatenate([prediction[0].numpy(), truth])))
        return Number(value, wanted)

    def properties(self, place: Place) -> Mapping[str, NDArray[np.float32]]:
        """Return the features, how many rows were read, and whether each class is the one."""
        inputs = self._gathered(place.sequence).inputs
        features = inputs[place.first : place.last, 0].numpy()
        found = {name: features[:, k] for k, name in enumerate(self._task.features.names)}
        read = np.arange(place.first + 1, place.last + 1, dtype=np.float32)
        return {**found, "rows read": read, **self._truths(place)}

    def _truths(self, place: Place) -> dict[str, NDArray[np.float32]]:
        """What is predicted, at every step."""
        targets, own = self._task.targets, self._side.targets
        if own is None:
            return {}
        truth = self._truth(place)
        if not isinstance(targets, Classes):
            return {"what is predicted": truth.astype(np.float32)}
        if targets.scores > MOST_CLASSES:
            return {}
        return {f"is {n}": (truth == k).astype(np.float32) for k, n in enumerate(targets.names)}

    def passage(self, steps: int) -> Place:
        """Return the beginning of the sequence of middling length."""
        order = np.argsort(self.lengths, kind="stable")
        sequence = int(order[len(order) // 2])
        return Place(sequence, 0, min(int(self.lengths[sequence]), steps))
