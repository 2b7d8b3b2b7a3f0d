"""Any torch model with recurrent layers, on rows of numbers: looked into as a trained run is.

T  time steps      B  sequences side by side      F  columns      H  size of the layers' outputs
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.data.sequences import Sequences
from gatework.errors import InputError
from gatework.nn import Recurrent
from gatework.nn.accelerate import accelerate
from gatework.reports.held_out import check_held_out
from gatework.reports.subject import Read, Subject
from gatework.tasks import Evaluation
from gatework.tasks.held_out import HeldOut, Place, Stretch, Track

__all__ = ["HeldOutRows", "TorchSubject"]

AT_ONCE = 1 << 16
"""Rows that are looked through together."""
TRIED = 8
"""Steps on which a model is tried."""


class HeldOutRows(HeldOut):
    """All sequences of a file, their columns as they are.

    Args:
        sequences: as read, with no text and no missing value in them.

    Raises:
        InputError: there is one.
    """

    def __init__(self, sequences: Sequences) -> None:
        _check_numbers(sequences)
        self.numbers = np.flatnonzero(sequences.lengths)
        """int64 [N], which of all sequences each is."""
        self.lengths = sequences.lengths[self.numbers]
        self._sequences = sequences

    def _rows(self, place: Place) -> slice:
        start = int(self._sequences.starts[self.numbers[place.sequence]])
        return slice(start + place.first, start + place.last)

    def read(self, place: Place) -> Stretch:
        """Return float32 [T, 1, F]."""
        rows = np.array(self._sequences.values[self._rows(place)], np.float32)
        return Stretch(torch.from_numpy(rows).unsqueeze(1))

    def track(self, place: Place) -> Track:
        """Return all columns as curves."""
        sequences, rows = self._sequences, self._rows(place)
        times = None if sequences.times is None else sequences.times[rows]
        name = str(sequences.ids[int(self.numbers[place.sequence])]) if len(sequences) > 1 else ""
        return Track(curves=sequences.curves(rows), times=times, dated=sequences.dated, name=name)

    def properties(self, place: Place) -> Mapping[str, NDArray[np.float32]]:
        """Return the columns, and how many steps were read."""
        found = self._sequences.curves(self._rows(place))
        return {**found, "steps read": np.arange(place.first + 1, place.last + 1, dtype=np.float32)}

    def passage(self, steps: int) -> Place:
        """Return the middle of the sequence of middling length."""
        order = np.argsort(self.lengths, kind="stable")
        sequence = int(order[len(order) // 2])
        length = int(self.lengths[sequence])
        first = max(0, (length - steps) // 2)
        return Place(sequence, first, min(length, first + steps))


def _check_numbers(sequences: Sequences) -> None:
    """Raise where a column holds texts, or misses a value."""
    mend = "fill them as when the model was trained, or name the columns it reads: --inputs a,b"
    for column in sequences.columns:
        if column in sequences.categories:
            raise InputError(
                f"column {column!r} of {sequences.name} with texts", "columns of numbers", mend
            )
    for begin in range(0, len(sequences.values), AT_ONCE):
        missing = np.isnan(sequences.values[begin : begin + AT_ONCE]).any(0)
        if missing.any():
            raise InputError(
                f"column {sequences.columns[int(missing.argmax())]!r} of {sequences.name} with "
                "missing values",
                "a number in each row",
                mend,
            )


class TorchSubject(Subject):
    """A torch model, called on sequences of rows; a state is not carried from part to part.

    Layers of torch.nn are run on Gatework, in place. It is called on float32 [B, T, F] where its
    first recurrent layer is batch first, else on [T, B, F].

    Args:
        name: what it is called.
        model: holds recurrent layers of Gatework or of torch.nn.
        sequences: what it is called on; it should not have learned from it.

    Raises:
        InputError: the model has no such layers or cannot be called on these sequences, or there is
            too little of them.
    """

    carries = False
    verb = "makes of"

    def __init__(self, name: str, model: nn.Module, sequences: Sequences) -> None:
        self.name, self.model = name, _on_gatework(model).eval()
        self.held_out = HeldOutRows(sequences)
        self.source = sequences.name
        check_held_out(self.held_out, sequences.name)
        layers = list(self.layers.values())
        self._batch_first = layers[0].batch_first
        self._last = layers[-1]
        self.what = "; ".join(dict.fromkeys(map(_described, layers)))
        self.told = f"{sum(p.numel() for p in model.parameters()):,} parameters"
        versions = {package: version(package) for package in ("gatework", "torch")}
        self.origin = {"sha256 of the data": sequences.sha256[:16], **versions}
        self._try(sequences)

    @property
    def last_layer(self) -> Recurrent:
        """The module that was called last."""
        return self._last

    def _try(self, sequences: Sequences) -> None:
        """Raise unless the model can be called on the sequences."""
        steps = min(TRIED, int(self.held_out.lengths[0]))
        read = self.read([Place(0, 0, steps)])
        try:
            with torch.no_grad():
                outputs, _ = self.run(read)
            if not isinstance(outputs, Tensor) or len(outputs) != steps:
                raise TypeError("its last recurrent layer does not give an output for each step")
        except InputError:
            raise
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            raise InputError(
                f"{self.name}, called on float32 {list(self._given(read).shape)}: "
                f"{type(error).__name__}: {told}",
                f"a model that takes the {len(sequences.columns)} columns "
                f"{', '.join(sequences.columns[:8])}"
                f"{', …' * (len(sequences.columns) > 8)} of {sequences.name}",
                "name the columns that it reads, in their order: --inputs a,b",
            ) from None

    def _given(self, read: Read) -> Tensor:
        return read.inputs.transpose(0, 1) if self._batch_first else read.inputs

    def run(self, read: Read, state: Any = None) -> tuple[Tensor, Any]:
        """Run the model, and return what its last recurrent layer gave."""
        _, self._last, outputs = self._called(read)
        return (outputs.transpose(0, 1) if self._last.batch_first else outputs), None

    def _called(self, read: Read) -> tuple[Any, Recurrent, Any]:
        """What the model returns, the recurrent layer that it calls last, what that gives."""
        caught: list[tuple[Recurrent, Any]] = []

        def catch(layer: Any, _: Any, result: Any) -> None:
            caught.append((layer, result[0]))

        hooks = [layer.register_forward_hook(catch) for layer in self.layers.values()]
        try:
            result = self.model(self._given(read))
        finally:
            for hook in hooks:
                hook.remove()
        if not caught:
            raise InputError(
                f"{self.name}, which runs without calling one of its recurrent layers",
                "a model that calls them as modules",
                "call self.layer(x), not its forward or single steps",
            )
        return (result, *caught[-1])

    def predicted(self, read: Read) -> Tensor:
        """Return what the model returns first, where it has steps that after the last."""
        found, *_ = self._called(read)
        while not isinstance(found, Tensor):
            found = next(iter(found.values() if isinstance(found, Mapping) else found))
        time = 1 if self._batch_first else 0
        has_steps = found.dim() > 2 and found.shape[time] == len(read.inputs)
        return found.select(time, -1) if has_steps else found

    def evaluate(self, *, quick: bool = False) -> Evaluation:
        """Nobody says what is to be predicted."""
        return Evaluation(float("nan"))


def _on_gatework(model: nn.Module) -> nn.Module:
    """The model, its layers of torch.nn run on Gatework.

    Raises:
        InputError: it has no recurrent layer that can be looked into.
    """
    theirs = [m for m in model.modules() if isinstance(m, nn.RNNBase)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if theirs:
            accelerate(model)
    if not any(isinstance(m, Recurrent) for m in model.modules()):
        why = "".join(f": {' '.join(str(w.message).split())}" for w in told)[:300]
        raise InputError(
            f"a {type(model).__name__} without a recurrent layer that can be looked into{why}",
            "a model that holds torch.nn.LSTM, GRU or RNN, or layers of gatework.nn",
            "name the function that makes it",
        )
    return model


def _described(layer: Recurrent) -> str:
    """A module with layers, such as "lstm, 2 layers of 64 units"."""
    several = f"{layer.num_layers} layers of " if layer.num_layers > 1 else ""
    return f"{layer.cell.name}, {several}{layer.output_size} units"
