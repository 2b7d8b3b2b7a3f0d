"""What a task is: the seam between data and training.

A task knows what a window of its source is, which head and loss a model has, and in which unit its
quality is said. Whatever trains, saves, reports or looks inside asks it, and knows no kind of data.

T  time steps      B  sequences side by side      E  numbers that a step is given to the layers by
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

from torch import Tensor, nn

from gatework.errors import InputError
from gatework.nn import Recurrent
from gatework.nn.recurrent import State
from gatework.tasks.held_out import Judged
from gatework.tasks.settings import TaskSettings

__all__ = [
    "ALL",
    "Batch",
    "Batches",
    "Evaluation",
    "Loss",
    "MakeLayer",
    "Part",
    "SequenceModel",
    "Shown",
    "Source",
    "Standalone",
    "Task",
    "check_forward",
]

MakeLayer: TypeAlias = Callable[[int], Recurrent]
"""Makes the recurrent layers for an input of so many numbers a step; batch first is off."""


class Standalone(Protocol):
    """What runs where there is no task: called as a `SequenceModel`, which is one."""

    layer: Recurrent

    @property
    def streams(self) -> bool:
        """Whether it predicts at each step."""

    def example(self, steps: int, sequences: int) -> Batch:
        """Return inputs of a shape that it takes, and what it takes besides."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return predictions and the state left behind."""


class Source(Protocol):
    """Data that was read: a part to learn from, a part held out."""

    @property
    def name(self) -> str:
        """What it is, in a few words."""

    @property
    def sha256(self) -> str:
        """Checksum of all of it, so that a run goes on with the same."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""

    @property
    def sizes(self) -> tuple[int, int]:
        """How much there is to learn from and how much is held out, in what the task counts."""


class Batch(NamedTuple):
    """What is learned from at once."""

    inputs: Tensor
    """int64 [T, B] or float32 [T, B, features], as the task's model takes it."""
    targets: Tensor
    """As the task's loss takes it."""
    lengths: Tensor | None = None
    """int64 [B], steps of each sequence; None where all have T."""
    fresh: bool = True
    """Whether the sequences begin here: no state is carried in from the batch before."""
    more: Mapping[str, Tensor] = {}
    """What the model takes besides, by name: a cell's further inputs, covariates known ahead."""


class Part(NamedTuple):
    """One process's part of every batch."""

    rank: int = 0
    ranks: int = 1

    def slice(self, count: int) -> slice:
        """Return which of `count` rows are this part's: in order, as even as can be.

        Example:
            >>> [Part(rank, 3).slice(10) for rank in range(3)]
            [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
        """
        least, over = divmod(count, self.ranks)
        begin = self.rank * least + min(self.rank, over)
        return slice(begin, begin + least + (self.rank < over))


ALL = Part()
"""The part of one process that trains alone."""


class Batches(Protocol):
    """The batches of a training part, one after the other without end.

    Which batch comes is decided by `position` alone (and the seed it was made with), so that a run
    goes on exactly by setting it.
    """

    position: int
    """Batches returned so far; set it to go on from a saved place."""

    @property
    def seen(self) -> int:
        """How much has been learned from so far, by all parts, in what the task counts."""

    def next(self) -> Batch:
        """Return this part of the next batch, and move on; it may have no sequence at all."""


class Loss(NamedTuple):
    """What a batch costs."""

    total: Tensor
    """Sum over all that was predicted, in nats or squared or absolute units; has a gradient."""
    terms: int
    """How much was predicted: the mean over all parts is what is minimised."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on held-out data."""

    cost: float
    """Mean loss in the task's unit; less is better. The best model is the one with the least."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What people quote, by name, the headline first, such as {"accuracy": 0.97}."""
    naive: Mapping[str, float] = field(default_factory=dict)
    """The same figures of what needs no model, such as the commonest class."""


@dataclass(frozen=True)
class Shown:
    """What a trained model does, for people to look at: something that it wrote or predicted.

    Attributes:
        title: what it is, in a few words, such as "What it writes".
        words: what is to be seen, in a sentence or two.
        text: it, as lines for a terminal.
        picture: it, as SVG for a page; None where the lines say all.
        more: the command that shows more, without the run: ("sample", "--prompt", "the ").
    """

    title: str
    words: str
    text: str
    picture: str | None = None
    more: tuple[str, ...] = ()


class SequenceModel(nn.Module, ABC):
    """A model that reads sequences: something before recurrent layers, the layers, a head.

    Attributes:
        layer: the recurrent layers; their input is what `encode` returns.
    """

    layer: Recurrent
    task: Any = None
    """What it has learned; `gatework.load` says it."""

    @abstractmethod
    def encode(self, inputs: Tensor) -> Tensor:
        """Return what the layers read [T, B, E], from inputs as a batch has them."""

    @abstractmethod
    def predict(self, outputs: Tensor, *, lengths: Tensor | None = None, **more: Tensor) -> Tensor:
        """Return predictions, as the task's loss takes them, from what the layers gave [T, B, H].

        Args:
            outputs: of the layers.
            lengths: int64 [B]; None where all have T steps.
            more: what a batch has besides, by name.
        """

    @abstractmethod
    def example(self, steps: int, sequences: int) -> Batch:
        """Return inputs of a shape that the model takes, all zero, and what it takes besides.

        Lengths are there where the model takes sequences of unequal lengths.
        """

    @property
    def streams(self) -> bool:
        """Whether it predicts at each step, so that it can go on from the state it left."""
        return False

    def so_far(self, outputs: Tensor, before: Any = None, **more: Tensor) -> tuple[Tensor, Any]:
        """Return what is predicted after each step, as if its sequence ended there.

        Args:
            outputs: of the layers at some steps, [T, B, H].
            before: what this returned of the steps before; None where sequences begin.
            more: what a batch has besides, by name.

        Returns:
            predictions [T, B, …], and what the next call is to be given.
        """
        return self.predict(outputs, **more), None

    def further(self, more: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the cell reads beside its input, of all that a batch has besides."""
        names = (row.name for row in self.layer.cell.further)
        return {name: more[name] for name in names if name in more}

    def forward(
        self,
        inputs: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        **more: Tensor,
    ) -> tuple[Tensor, State]:
        """Return predictions, as the task's loss takes them, and the state left behind.

        Args:
            inputs: as a batch has them.
            state: as returned by the call before; None where sequences begin.
            lengths: int64 [B]; None where all have T steps.
            more: what a batch has besides, by name.
        """
        encoded, further = self.encode(inputs), self.further(more)
        outputs, state = self.layer(encoded, state, lengths=lengths, **further)  # [T, B, H]
        return self.predict(outputs, lengths=lengths, **more), state


def check_forward(layer: Recurrent, what: str, why: str) -> None:
    """Raise where layers read backward too, and so would see what they are to predict.

    Args:
        layer: the layers.
        what: what they are for.
        why: they have to read forward.

    Raises:
        InputError: they do.
    """
    if layer.num_directions > 1:
        raise InputError(
            f"layers of both directions {what}",
            f"layers that read forward, since {why}",
            "leave out --bidirectional",
        )


class Task(ABC):
    """One kind of task, resolved for one source: its columns, classes, alphabet and scales.

    Args:
        settings: what was asked.
        understood: what was found in the source, as JSON data: with the settings, all that it
            takes to make the model and to use it where the source is not. It is written in
            `config.yaml`, which can come from a stranger, so each task checks it.
    """

    carries: ClassVar[bool] = False
    """Whether the state at the end of a batch is what the next one begins with."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """Of the cost, such as "bits per byte"."""

    @property
    @abstractmethod
    def counted(self) -> str:
        """What is learned from is counted in, in the plural: "bytes", "steps", "sequences"."""

    @property
    def meaning(self) -> str:
        """What a cost means, in a few words, such as "8 is chance, 0 is certainty"."""
        return "less is better"

    def __init__(self, settings: TaskSettings, understood: Mapping[str, Any]) -> None:
        self.settings = settings
        self.understood = dict(understood)

    # ---- the source

    @classmethod
    @abstractmethod
    def load(
        cls, settings: TaskSettings, files: tuple[Path, ...], known: Task | None = None
    ) -> tuple[Self, Source]:
        """Read files, and understand them.

        Args:
            settings: what is asked.
            files: to learn from.
            known: the task of a run that goes on or is used: its scales, classes and alphabet
                hold, nothing is fitted anew.

        Raises:
            InputError: a file is missing or is not what was asked for.
        """

    # ---- the model

    @abstractmethod
    def make_model(self, layers: MakeLayer, dropout: float) -> SequenceModel:
        """Make a model with random weights."""

    def standalone(self, model: SequenceModel) -> Standalone:
        """Return what a file for others runs: the model, with what the task knows of its data.

        Unless a task says otherwise, that is the model itself.
        """
        return model

    # ---- training

    @abstractmethod
    def batches(
        self, source: Source, *, batch_size: int, window: int, seed: int, part: Part = ALL
    ) -> Batches:
        """Return the batches of the part to learn from.

        Args:
            source: from `load`.
            batch_size: B, of all parts together.
            window: T, for tasks that cut long sequences.
            seed: of the order.
            part: which rows of each batch to return.

        Raises:
            InputError: there is too little for one batch.
        """

    @abstractmethod
    def loss(self, predictions: Tensor, batch: Batch) -> Loss:
        """Return what predictions cost."""

    def cost(self, mean: float) -> float:
        """Return a mean loss in the task's unit."""
        return mean

    # ---- quality

    @abstractmethod
    def evaluate(self, model: SequenceModel, source: Source, *, quick: bool = False) -> Evaluation:
        """Measure a model on the held-out part; leaves it in evaluation mode.

        Args:
            model: of this task.
            source: from `load`.
            quick: read only so much as a point of the learning curve needs.
        """

    def show(self, model: SequenceModel, source: Source) -> Shown | None:
        """Let a trained model do something that people can look at; None where there is nothing."""
        return None

    @abstractmethod
    def held_out(self, source: Source) -> Judged:
        """Return the held-out part as what looks inside a model reads.

        Args:
            source: from `load`.
        """

    @abstractmethod
    def evaluated(self, source: Source, *, quick: bool = False) -> int:
        """Return how much of the held-out part `evaluate` reads, in what the task counts."""
