"""Rows tagged as they come, each from the state that the row before it left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.data.clock import Clock
from gatework.data.numbers import Place
from gatework.errors import InputError
from gatework.needed import needed
from gatework.tasks.features import Features, log_gaps
from gatework.tasks.labelling.task import TagTask
from gatework.tasks.task import SequenceModel

__all__ = ["Tagged", "Tagger"]

ALONE = "stream"
"""What the sequence is called where rows do not say which one they belong to."""


class Tagged(NamedTuple):
    """What a model says of a row."""

    id: str
    """The sequence that the row belongs to."""
    row: int
    """Its number in that sequence, from 1."""
    label: str
    chances: NDArray[np.float32]
    """The probability of each class."""


@dataclass
class _Begun:
    """How far a sequence is."""

    rows: int = 0
    state: Any = None
    first: float = 0.0
    last: float = 0.0
    """Times of its first and its last row."""


class Tagger:
    """Tags rows one by one. Rows of several sequences may take turns.

    Args:
        task: what the model has learned.
        model: of that task.

    Raises:
        InputError: the model also reads backward, so it would have to see the end first.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> lines = [f"{s},{(-1) ** s},{'up' if s % 2 else 'down'}" for s in range(8)] * 2
        >>> _ = Path("rows.csv").write_text("id,x,y\\n" + "\\n".join(lines) + "\\n")
        >>> run = gw.train_cell(gw.cells.gru, "rows.csv", task="tag", hidden_size=4, steps=2)
        >>> tagger = Tagger(run.task, run.load_model())
        >>> [tagger.tag({"id": "a", "x": x}).row for x in (1.0, None, 0.5)]
        [1, 2, 3]
    """

    def __init__(self, task: TagTask, model: SequenceModel) -> None:
        if model.layer.bidirectional:
            raise InputError(
                "rows one by one, for a model whose layers read both directions",
                "layers that read forward alone",
                "give whole sequences, as a file, or train without --bidirectional",
            )
        self._task, self._model = task, model.eval()
        self._begun: dict[str, _Begun] = {}
        self._clock = Clock()
        reads = {row.name for row in model.layer.cell.further}
        self._timed = task.features.gaps is not None or bool(reads & {"gap", "time"})

    @torch.no_grad()
    def tag(self, row: Mapping[str, Any], where: str = "a row") -> Tagged:
        """Return the class of a row.

        Args:
            row: values by the names of their columns; None where one is missing.
            where: what the row is called in messages.

        Raises:
            InputError: a column is missing, a value is none of its column, or time goes back.
        """
        name = self._task.id_column
        id_ = ALONE if name is None or name not in row else str(row[name])
        begun = self._begun.setdefault(id_, _Begun())
        inputs, more = self._read(row, begun, where)
        scores, begun.state = self._model(inputs, begun.state, **more)
        begun.rows += 1
        labels, chances = self._task.named(scores[0].float().cpu())
        assert chances is not None
        return Tagged(id_, begun.rows, labels[0], chances[0])

    def _read(
        self, row: Mapping[str, Any], begun: _Begun, where: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The features of a row [1, 1, F], and what is read beside them."""
        features = self._task.features
        values = _values(features, row, where)
        static = features.static
        told = None if static is None else _values(static, row, where)
        times = self._times(row, begun, where)
        pair = np.concatenate([values, values])  # with the row before, a gap can be seen
        more = {
            "gap": log_gaps(times, 2)[1:, None],
            "mask": features.there(values)[:, None].astype(np.float32),
            "time": np.full((1, 1, 1), times[1] - begun.first, np.float32),
        }
        if static is not None and told is not None:
            more["static"] = static.of(told)
        device = next(self._model.parameters()).device
        inputs = features.of(pair, times)[1:, None]
        return torch.from_numpy(inputs).to(device), {
            name: torch.from_numpy(value).to(device) for name, value in more.items()
        }

    def _times(self, row: Mapping[str, Any], begun: _Begun, where: str) -> NDArray[np.float64]:
        """The times of the row before and of this one; the same where there is none before."""
        if self._timed and self._task.time_column is not None:
            now = self._time(row, self._task.time_column, where)
            if begun.rows and now <= begun.last:
                raise InputError(
                    f"{where} at a time that is not after that of the row before",
                    "rows in the order of their times",
                    "put them in order, or give them as a file",
                )
            if not begun.rows:
                begun.first = begun.last = now
        else:
            now = begun.last
        before, begun.last = begun.last, now
        return np.array([before, now])

    def _time(self, row: Mapping[str, Any], column: str, where: str) -> float:
        value = _value_of(row, column, where)
        if value is None:
            raise InputError(
                f"{where} without a time in {column!r}", "the time of each row", "add it"
            )
        series = needed("polars", "tables").Series(column, [value])
        return float(self._clock.seconds(series, Place(where))[0])


def _values(features: Features, row: Mapping[str, Any], where: str) -> NDArray[np.float32]:
    """The columns that features are made of, [1, C]."""
    found = [
        _number(features, name, _value_of(row, name, where), where) for name in features.columns
    ]
    return np.array([found], np.float32)


def _value_of(row: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in row:
        raise InputError(
            f"{where} without {name!r}",
            "the columns that the model reads",
            "add it, with null where its value is missing",
        )
    return row[name]


def _number(features: Features, name: str, value: Any, where: str) -> float:
    """A value as a number, a text as that of its category; NaN where nothing is known of it."""
    if value is None:
        return float("nan")
    texts = features.categories.get(name)
    if texts is not None:
        return float(texts.index(str(value))) if str(value) in texts else float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: {value!r} in {name!r}", "a number, or null", "correct it"
        ) from None
