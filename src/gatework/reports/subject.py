"""A trained model and the data that it is looked at on: what inspection and comparison ask.

T  time steps      B  sequences side by side      H  size of the layers' outputs
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gatework.lang import Cell
from gatework.lens.watching import recurrent_layers
from gatework.nn import Recurrent
from gatework.tasks import Evaluation, SequenceModel, Source, Task
from gatework.tasks.held_out import HeldOut, Place, Stretch
from gatework.train.config import RunConfig
from gatework.train.records import Record, curve
from gatework.train.run import Run

__all__ = ["Read", "Subject", "TrainedSubject", "subject_of_run"]


class Read(NamedTuple):
    """Steps of some sequences side by side, as a model reads them."""

    inputs: Tensor
    """int64 [T, B] or float32 [T, B, F]."""
    more: Mapping[str, Tensor]
    """What the model takes besides, by name: [T, B, …] of each step, [B, …] of each sequence."""
    fresh: bool = True
    """Whether no state is carried in from what was read before."""


class Subject(ABC):
    """A model that is looked into, and its held-out data.

    Attributes:
        name: what it is called.
        what: its layers in a few words, such as "lstm, 2 layers of 192 units".
        model: in evaluation mode; the full names of values begin in it.
        held_out: what it is looked at on.
        verb: what the model did with the data, in words.
        carries: whether a state can go on from one part of a sequence to the next.
        source: what the data is called.
        unit: of the cost; "" where there is none.
        meaning: what a cost means.
        counted: what is learned from is counted in.
        records: the learning curve.
        told: how it was made, for the end of a page.
        origin: where data and weights are from, by name.
    """

    name: str
    what: str
    model: nn.Module
    held_out: HeldOut
    verb: str = "learned from"
    carries: bool = True
    source: str
    unit: str = ""
    meaning: str = ""
    counted: str = ""
    records: tuple[Record, ...] = ()
    told: str
    origin: Mapping[str, str]

    @property
    def layers(self) -> dict[str, Recurrent]:
        """The modules with recurrent layers, by their path in the model."""
        return recurrent_layers(self.model)

    @property
    @abstractmethod
    def last_layer(self) -> Recurrent:
        """The module whose outputs the head reads."""

    @property
    def reads_backward(self) -> bool:
        """Whether layers read backward too."""
        return any(layer.num_directions > 1 for layer in self.layers.values())

    def cell_of(self, value: str) -> Cell:
        """Return the cell that has a value, by the value's full name such as "layer.l0.c"."""
        path = ".".join(value.split(".")[:-2])
        return self.layers[path].cell

    def short(self, value: str) -> str:
        """Return a full name, such as "layer.l0.c", without what is the same for all."""
        places = [
            f"{path}{'.' * bool(path)}l{k}{'_reverse' * d}".split(".")
            for path, layer in self.layers.items()
            for k in range(layer.num_layers)
            for d in range(layer.num_directions)
        ]
        same = 0
        while (
            all(len(p) > same for p in places) and len({tuple(p[: same + 1]) for p in places}) < 2
        ):
            same += 1
        return ".".join(value.split(".")[same:])

    @property
    def further(self) -> tuple[str, ...]:
        """What layers read beside their input, by name."""
        return ()

    def read(
        self, places: Sequence[Place], *, fresh: bool = True, predicting: bool = False
    ) -> Read:
        """Return places of equal lengths side by side.

        Args:
            places: what is read.
            fresh: whether no state is carried in.
            predicting: read what only predictions need, too; it can be much.
        """
        stretches = [self.held_out.read(place) for place in places]
        names = [n for n in stretches[0].more if predicting or n in self.further]
        inputs = torch.cat([stretch.inputs for stretch in stretches], 1)
        return Read(inputs, _side_by_side(stretches, names), fresh)

    @abstractmethod
    def run(self, read: Read, state: Any = None) -> tuple[Tensor, Any]:
        """Run the layers: what the last ones give, [T, B, H], and the state left behind."""

    @abstractmethod
    def predicted(self, read: Read) -> Tensor:
        """Return what the model says after the last step, of any shape."""

    @abstractmethod
    def evaluate(self, *, quick: bool = False) -> Evaluation:
        """Measure the model, as it is held now; a cost of NaN where nothing is to be predicted."""

    def end(self, outputs: Tensor) -> Tensor:
        """Return where the forward layers have read all, [B, H / directions]."""
        return outputs[-1].chunk(self.last_layer.num_directions, -1)[0]


def _side_by_side(stretches: Sequence[Stretch], names: Sequence[str]) -> dict[str, Tensor]:
    """What models take besides: of each step it has three axes or more, of a sequence two."""
    parts = {name: [stretch.more[name] for stretch in stretches] for name in names}
    return {name: torch.cat(some, int(some[0].dim() > 2)) for name, some in parts.items()}


class TrainedSubject(Subject):
    """A model that Gatework has trained.

    Args:
        name: what it is called.
        config: its settings.
        task: what it has learned.
        source: the data, from the task.
        model: as trained.
    """

    model: SequenceModel

    def __init__(
        self, name: str, config: RunConfig, task: Task, source: Source, model: SequenceModel
    ) -> None:
        layers = f"{config.layers} layers of " if config.layers > 1 else ""
        self.name = name
        self.what = f"{config.cell}, {layers}{config.hidden_size} units"
        self.model, self.task, self.data = model.eval(), task, source
        self.held_out = task.held_out(source)
        self.carries = not self.reads_backward
        self.source, self.unit = source.name, task.unit
        self.meaning, self.counted = task.meaning, task.counted
        shown = config.shown().items()
        self.told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown)
        self.origin = {"sha256 of the data": source.sha256[:16]}

    @property
    def last_layer(self) -> Recurrent:
        """The layers that the model has."""
        return self.model.layer

    @property
    def further(self) -> tuple[str, ...]:
        """What the cell reads beside its input."""
        return tuple(row.name for row in self.model.layer.cell.further)

    def run(self, read: Read, state: Any = None) -> tuple[Tensor, Any]:
        """Run the layers, and not what predicts from their outputs."""
        model = self.model
        found: tuple[Tensor, Any] = model.layer(
            model.encode(read.inputs), state, **model.further(read.more)
        )
        return found

    def predicted(self, read: Read) -> Tensor:
        """Return what is predicted from the outputs with which each direction has read all."""
        outputs, _ = self.run(read)
        forward, *backward = outputs.chunk(self.last_layer.num_directions, -1)
        ends = torch.cat([forward[-1:], *(half[:1] for half in backward)], -1)
        more = {name: v[-1:] if v.dim() > 2 else v for name, v in read.more.items()}
        return self.model.predict(ends, **more)

    def evaluate(self, *, quick: bool = False) -> Evaluation:
        """Measure the model as its task does."""
        return self.task.evaluate(self.model, self.data, quick=quick)


def subject_of_run(run: Run, *, last: bool = False) -> TrainedSubject:
    """Return the model of a run, and its data.

    Args:
        run: its folder.
        last: the model that the run ended with, not the best one.

    Raises:
        InputError: weights or data are gone, or have changed.
    """
    name = run.path.resolve().name
    model = run.load_model(last=last)
    subject = TrainedSubject(name, run.config, run.task, run.load_source(), model)
    subject.records = tuple(curve(run.records(), "valid"))
    subject.told = f"{run.manifest.parameters:,} parameters; {subject.told}"
    subject.origin = {**subject.origin, **run.manifest.versions}
    return subject
