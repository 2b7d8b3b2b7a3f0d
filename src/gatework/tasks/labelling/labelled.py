"""What tasks of labels have in common: whole sequences, bucketed by length, and a head.

T  time steps      B  sequences      F  features      K  classes
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.data.dividing import by_sequence
from gatework.data.reading import read_sequences
from gatework.data.sequences import Sequences
from gatework.errors import InputError
from gatework.tasks.bucketed import Bucketed
from gatework.tasks.divided import Divided, Side
from gatework.tasks.features import Features, log_gaps
from gatework.tasks.labelling.columns import ColumnLabeller
from gatework.tasks.labelling.held_out import HeldOutLabels
from gatework.tasks.labelling.model import Labeller
from gatework.tasks.labelling.settings import (
    LabelSettings,
    PooledSettings,
)
from gatework.tasks.labelling.targets import Classes, Numbers
from gatework.tasks.settings import TaskSettings
from gatework.tasks.task import (
    ALL,
    Batch,
    Evaluation,
    MakeLayer,
    Part,
    SequenceModel,
    Source,
    Task,
)

__all__ = ["QUICK", "Judged", "LabelTask", "Prediction"]

AT_ONCE = 64
"""Sequences that are read side by side in evaluation."""
QUICK = 2_000
"""Held-out sequences that a point of the learning curve reads."""


class Prediction(NamedTuple):
    """What a model says of a sequence."""

    id: str
    """What it is called."""
    labels: list[Any]
    """A class or a number; of tagging one for each row."""
    chances: NDArray[np.float32] | None
    """Of each label the probabilities of all classes; None of numbers."""


class Judged(NamedTuple):
    """What a model says of sequences, beside the truth."""

    total: float
    """Sum of the loss over what was predicted."""
    terms: int
    truth: NDArray[Any]
    found: NDArray[Any]


class LabelTask(Task):
    """What classification, regression and tagging have in common."""

    settings: LabelSettings
    targets: Classes | Numbers
    kind: ClassVar[str]
    of_classes: ClassVar[bool] = True

    def __init__(self, settings: TaskSettings, understood: Mapping[str, Any]) -> None:
        super().__init__(settings, understood)
        self.features = Features.of_data(self.understood.get("features"))
        self.targets = (Classes if self.of_classes else Numbers).of_data(self.understood)
        self.id_column = _name(self.understood, "id")
        """Column that tells sequences apart; None where nothing does."""
        self.time_column = _name(self.understood, "time")
        """Column of the times; None where there are none."""

    counted = "sequences"

    @property
    def pool(self) -> str | None:
        """Which outputs decide; None where each row is labelled."""
        return self.settings.pool if isinstance(self.settings, PooledSettings) else None

    @classmethod
    def load(
        cls, settings: TaskSettings, files: tuple[Path, ...], known: Task | None = None
    ) -> tuple[Self, Divided]:
        """Read labelled sequences.

        Raises:
            InputError: a file is missing or is not what was asked for.
        """
        asked = cast(LabelSettings, settings)
        every = read_sequences(files, asked, cls.kind)
        other = read_sequences(asked.held_out, asked, cls.kind) if asked.held_out else every
        if asked.held_out:
            learned, rest = np.arange(len(every)), np.arange(len(other))
        else:
            learned, rest = by_sequence(every, asked.held_out_share, asked.division)
        task = cast(Self, known) or cls(asked, cls._understood(asked, every, learned))
        side = task._side(every, learned)
        judged = replace(side, indices=rest) if other is every else task._side(other, rest)
        checksum = every.sha256[:32] + other.sha256[32:]
        return task, Divided(every.name, checksum, every.notes, side, judged)

    def _side(self, sequences: Sequences, indices: NDArray[np.int64]) -> Side:
        """Some of the sequences, with the columns of this task and labels as numbers.

        Raises:
            InputError: a label is of a class that the task does not know, or there are none.
        """
        labels = self.labels_of(Side(sequences, np.arange(len(sequences))))
        targets = self.targets.numbers(labels, sequences.name)
        return Side(self.features.placed(sequences), indices, targets)

    @classmethod
    def _understood(
        cls, settings: LabelSettings, every: Sequences, learned: NDArray[np.int64]
    ) -> dict[str, Any]:
        """What is found in the sequences that are learned from."""
        side = Side(every, learned)
        labels = cls.labels_of(side)
        targets = Classes if cls.of_classes else Numbers
        features = Features.fit(every, learned, with_gaps=settings.gaps)
        return {
            "features": features.as_data(),
            "id": _column(every, "id"),
            "time": _column(every, "time"),
            **targets.of(labels, every.name).as_data(),
        }

    @staticmethod
    def labels_of(side: Side) -> NDArray[Any]:
        """The labels of some sequences, or of their rows.

        Raises:
            InputError: there are none.
        """
        sequences = side.sequences
        if sequences.labels is None:
            raise InputError(
                f"no labels in {sequences.name}",
                "a label for each sequence, or each row",
                "name their column: --target COLUMN",
            )
        if not sequences.per_row:
            found: NDArray[Any] = sequences.labels[side.indices]
            return found
        return np.concatenate([sequences.labels[sequences.rows(i)] for i in side.indices.tolist()])

    def make_model(self, layers: MakeLayer, dropout: float) -> Labeller:
        """Make a model with random weights."""
        return Labeller(
            self.features.size,
            self.features.static_size,
            self.targets.scores,
            self.pool,
            self.settings.noise,
            layers,
            dropout,
        )

    def standalone(self, model: SequenceModel) -> ColumnLabeller:
        """Return a model that reads columns as they are, and gives numbers in their own unit."""
        numbers = self.targets if isinstance(self.targets, Numbers) else None
        return ColumnLabeller(cast(Labeller, model), self.features, numbers)

    # ---- batches

    def batches(
        self, source: Source, *, batch_size: int, window: int, seed: int, part: Part = ALL
    ) -> Bucketed:
        """Return whole sequences, those of like length side by side."""
        side = cast(Divided, source).learned
        return Bucketed(
            side.lengths, batch_size, seed, part, lambda numbers: self.gather(side, numbers)
        )

    def gather(self, side: Side, numbers: NDArray[np.int64]) -> Batch:
        """Return some sequences as a batch, padded to the longest.

        Args:
            side: where they are from.
            numbers: their places in `side.indices`.
        """
        indices = side.indices[numbers]
        lengths = side.sequences.lengths[indices]
        steps, count = int(lengths.max(initial=0)), len(indices)
        inputs = np.zeros((steps, count, self.features.size), np.float32)
        gaps, times = np.zeros((2, steps, count, 1), np.float32)
        there = np.zeros((steps, count, self.features.size), np.float32)
        for b, index in enumerate(indices.tolist()):
            rows, length = side.sequences.rows(index), int(lengths[b])
            own = None if side.sequences.times is None else side.sequences.times[rows]
            inputs[:length, b] = self.features.of(side.sequences.values[rows], own)
            there[:length, b] = self.features.there(side.sequences.values[rows])
            if own is not None:
                gaps[:length, b] = log_gaps(own, length)
                times[:length, b, 0] = own - own[0]
        more = {
            "gap": torch.from_numpy(gaps),
            "mask": torch.from_numpy(there),
            "time": torch.from_numpy(times),
        }
        if self.features.static is not None:
            more["static"] = self._static(side.sequences, indices)
        return Batch(
            torch.from_numpy(inputs),
            self._targets(side, indices, lengths),
            torch.from_numpy(lengths),
            more=more,
        )

    def _static(self, sequences: Sequences, indices: NDArray[np.int64]) -> Tensor:
        assert sequences.static is not None
        assert self.features.static is not None
        return torch.from_numpy(self.features.static.of(sequences.static[indices]))

    def _targets(
        self, side: Side, indices: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Tensor:
        """What is predicted [B], where there is one for each sequence; 0 where nothing is known."""
        if side.targets is None:
            return torch.zeros(len(indices), dtype=torch.long)
        return torch.from_numpy(side.targets[indices])

    # ---- use

    def every(self, side: Side, count: int | None = None) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Go through sequences in the order of their lengths.

        Args:
            side: the sequences.
            count: so many, evenly spread; None for all.
        """
        order = np.argsort(side.lengths, kind="stable")
        if count is not None and count < len(order):
            order = order[np.linspace(0, len(order) - 1, count).astype(int)]
        for begin in range(0, len(order), AT_ONCE):
            numbers = order[begin : begin + AT_ONCE]
            yield numbers, self.gather(side, numbers)

    @torch.no_grad()
    def scores(self, model: SequenceModel, batch: Batch) -> Tensor:
        """Return what a model predicts, in evaluation mode."""
        model.eval()
        device = next(model.parameters()).device
        more = {name: value.to(device) for name, value in batch.more.items()}
        found, _ = model(batch.inputs.to(device), lengths=batch.lengths, **more)
        return cast(Tensor, found).float().cpu()

    def held_out(self, source: Source) -> HeldOutLabels:
        """Return the held-out sequences."""
        return HeldOutLabels(self, cast(Divided, source).held_out)

    def evaluated(self, source: Source, *, quick: bool = False) -> int:
        """Return how many held-out sequences are read."""
        held_out = source.sizes[1]
        return min(held_out, QUICK) if quick else held_out

    def evaluate(self, model: SequenceModel, source: Source, *, quick: bool = False) -> Evaluation:
        """Measure a model on held-out sequences."""
        judged = self.judged(model, source, QUICK if quick else None)
        if not judged.terms:
            return Evaluation(float("nan"))
        cost = self.cost(judged.total / judged.terms)
        return Evaluation(cost, *self.figures(judged.truth, judged.found))

    def judged(self, model: SequenceModel, source: Source, count: int | None) -> Judged:
        """Return what a model says of held-out sequences whose truth is known.

        Args:
            model: of this task.
            source: from `load`.
            count: of so many, evenly spread; None for all.
        """
        total, terms = 0.0, 0
        truth, found = [], []
        for _, batch in self.every(cast(Divided, source).held_out, count):
            scores = self.scores(model, batch)
            loss = self.loss(scores, batch)
            total, terms = total + float(loss.total), terms + loss.terms
            known = self.known(batch)
            truth.append(batch.targets[known].numpy())
            found.append(self.decided(scores)[known.numpy()])
        return Judged(total, terms, np.concatenate(truth), np.concatenate(found))

    def read(self, files: Sequence[Path]) -> Side:
        """Return sequences to predict of, whose labels nobody needs to know.

        Raises:
            InputError: a file is missing, or does not have the columns that the model reads.
        """
        read = read_sequences(files, self.settings, "read")
        return Side(self.features.placed(read), np.arange(len(read)))

    def predict(self, model: SequenceModel, side: Side) -> Iterator[Prediction]:
        """Go through sequences, those of like length together, and predict.

        Args:
            model: of this task.
            side: from `read`.
        """
        for numbers, batch in self.every(side):
            scores = self.scores(model, batch)
            lengths = cast(Tensor, batch.lengths)
            for b, number in enumerate(numbers.tolist()):
                own = scores[: int(lengths[b]), b] if self.pool is None else scores[b : b + 1]
                index = int(side.indices[number])
                yield Prediction(side.sequences.ids[index], *self.named(own))

    @abstractmethod
    def named(self, scores: Tensor) -> tuple[list[Any], NDArray[np.float32] | None]:
        """Return what scores [n, K] say, and the probability of each class [n, K]."""

    def known(self, batch: Batch) -> Tensor:
        """Of which predictions the truth is known."""
        return torch.ones(batch.targets.shape, dtype=torch.bool)

    @abstractmethod
    def decided(self, scores: Tensor) -> NDArray[Any]:
        """Return what scores say: classes by number, or scaled numbers."""

    @abstractmethod
    def figures(
        self, truth: NDArray[Any], found: NDArray[Any]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return figures that people quote, and those of what needs no model."""


def _column(sequences: Sequences, part: str) -> str | None:
    """The column that has a part."""
    return next((name for name, own in sequences.parts.items() if own == part), None)


def _name(understood: Mapping[str, Any], part: str) -> str | None:
    """The column that has a part, as a run wrote it down.

    Raises:
        InputError: it is no name.
    """
    name = understood.get(part)
    if name is not None and not isinstance(name, str):
        raise InputError(
            f"a run whose column of the part {part!r} is {name!r}",
            "its name as the run wrote it down",
            "restore its config.yaml, or train again",
        )
    return name
