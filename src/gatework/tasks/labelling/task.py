"""The kinds of labels: a class of each sequence, a class of each row, a number of each sequence.

T  time steps      B  sequences      K  classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from gatework.data.sequences import Sequences
from gatework.tasks.divided import Side
from gatework.tasks.labelling.labelled import QUICK, LabelTask
from gatework.tasks.labelling.metrics import classified, confusion, regressed
from gatework.tasks.labelling.settings import LabelSettings
from gatework.tasks.labelling.targets import MISSING, Classes, Numbers
from gatework.tasks.settings import TaskSettings
from gatework.tasks.task import Batch, Loss, SequenceModel, Shown, Source

__all__ = ["TASKS", "ClassifyTask", "RegressTask", "TagTask"]

SHOWN = 12
"""Classes whose confusion is shown."""


class _OfClasses(LabelTask):
    """Classes, of sequences or rows."""

    targets: Classes
    unit = "nats"

    def __init__(self, settings: TaskSettings, understood: Mapping[str, Any]) -> None:
        super().__init__(settings, understood)
        self.shares = self.targets.shares(self.understood.get("shares"))
        """How often each class stands in what is learned from."""

    @property
    def meaning(self) -> str:
        """What chance costs."""
        return f"{np.log(self.targets.scores):.3g} is chance, 0 is certainty"

    def decided(self, scores: Tensor) -> NDArray[np.int64]:
        """Return the likeliest class."""
        found: NDArray[np.int64] = scores.argmax(-1).numpy()
        return found

    def known(self, batch: Batch) -> Tensor:
        """Which sequences, or steps, have a label."""
        return batch.targets != MISSING

    def named(self, scores: Tensor) -> tuple[list[Any], NDArray[np.float32] | None]:
        """Return the likeliest classes by name, and the probabilities of all."""
        chances = scores.softmax(-1).numpy()
        return [self.targets.names[k] for k in self.decided(scores).tolist()], chances

    def figures(
        self, truth: NDArray[Any], found: NDArray[Any]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return accuracy and macro F1, and those of the class that is commonest."""
        classes = self.targets.scores
        naive = confusion(truth, np.full_like(truth, np.argmax(self.shares)), classes)
        return classified(confusion(truth, found, classes)), classified(naive)

    def _entropy(self, scores: Tensor, targets: Tensor) -> Loss:
        known = targets != MISSING
        weights = self.weights.to(scores.device) if self.weights is not None else None
        total = cross_entropy(scores, targets, weights, ignore_index=MISSING, reduction="sum")
        return Loss(total, int(known.sum()))

    @property
    def weights(self) -> Tensor | None:
        """How much each class weighs; None where all examples weigh the same."""
        if not getattr(self.settings, "balanced", False):
            return None
        shares = torch.tensor(self.shares, dtype=torch.float32)
        return 1 / (len(shares) * shares.clamp(min=1e-6))

    @classmethod
    def _understood(
        cls, settings: LabelSettings, every: Sequences, learned: NDArray[np.int64]
    ) -> dict[str, Any]:
        found = super()._understood(settings, every, learned)
        classes = Classes.of_data(found)
        numbers = classes.numbers(cls.labels_of(Side(every, learned)), every.name)
        counts = np.bincount(numbers[numbers != MISSING], minlength=classes.scores)
        return {**found, "shares": (counts / counts.sum()).tolist()}

    def show(self, model: SequenceModel, source: Source) -> Shown:
        """Say which classes were taken for which."""
        judged = self.judged(model, source, QUICK)
        counts = confusion(judged.truth, judged.found, self.targets.scores)
        return Shown(
            "What it takes for what",
            "Of held-out data: a row for each class, in it how often it was taken for each.",
            _table(self.targets.names, counts),
            more=("evaluate",),
        )


class ClassifyTask(_OfClasses):
    """Predict the class of each sequence."""

    kind = "classify"

    def loss(self, predictions: Tensor, batch: Batch) -> Loss:
        """Return the cross entropy of the classes [B], in nats."""
        return self._entropy(predictions, batch.targets)


class TagTask(_OfClasses):
    """Predict the class of each row."""

    kind = "tag"

    def _targets(
        self, side: Side, indices: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Tensor:
        """The classes of steps [T, B]; nothing past a sequence's end."""
        targets = np.full((int(lengths.max(initial=0)), len(indices)), MISSING, np.int64)
        if side.targets is not None:
            for b, index in enumerate(indices.tolist()):
                own = side.targets[side.sequences.rows(index)]
                targets[: len(own), b] = own
        return torch.from_numpy(targets)

    def loss(self, predictions: Tensor, batch: Batch) -> Loss:
        """Return the cross entropy of the classes of all steps, in nats."""
        return self._entropy(predictions.flatten(0, 1), batch.targets.flatten())


class RegressTask(LabelTask):
    """Predict a number for each sequence."""

    kind = "regress"
    of_classes = False
    targets: Numbers
    unit = "squared error"
    meaning = "1 is what the mean of all targets costs, 0 is certainty"

    def loss(self, predictions: Tensor, batch: Batch) -> Loss:
        """Return the squared error of the scaled targets [B]."""
        total = mse_loss(predictions[:, 0], batch.targets.float(), reduction="sum")
        return Loss(total, len(batch.targets))

    def decided(self, scores: Tensor) -> NDArray[np.float32]:
        """Return the scaled numbers."""
        found: NDArray[np.float32] = scores[:, 0].numpy()
        return found

    def named(self, scores: Tensor) -> tuple[list[Any], NDArray[np.float32] | None]:
        """Return numbers in the targets' own unit."""
        return self.targets.undo(self.decided(scores)).tolist(), None

    def figures(
        self, truth: NDArray[Any], found: NDArray[Any]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return errors in the targets' own unit, and those of the mean target."""
        true = self.targets.undo(truth)
        mean = np.full_like(true, self.targets.scaling.means[0])
        return regressed(true, self.targets.undo(found)), regressed(true, mean)


def _table(names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """A confusion matrix as lines; of many classes those that are confused most."""
    mistakes = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:SHOWN])
    cells = [[names[k], *(f"{n:,}" for n in counts[k, shown])] for k in shown]
    rows = [["", *(names[k] for k in shown)], *cells]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    if len(shown) < len(names):
        lines.append(f"the {len(shown)} of {len(names)} classes that are confused most")
    return "\n".join(lines)


TASKS = {"classify": ClassifyTask, "regress": RegressTask, "tag": TagTask}
