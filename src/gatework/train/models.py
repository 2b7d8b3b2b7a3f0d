"""The model of a run: the task's own, around recurrent layers that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from gatework.errors import InputError
from gatework.lang import Cell
from gatework.nn import Recurrent
from gatework.tasks.task import SequenceModel, Task
from gatework.train.cells import sizes_of
from gatework.train.config import RunConfig

__all__ = ["make_model", "parameter_count", "state_shapes", "weight_shapes"]

MOST_UNITS = 1_000_000
"""Of a single value of a cell."""


def make_model(config: RunConfig, task: Task) -> SequenceModel:
    """Make the model of a run, with random weights.

    A size that the cell itself names, such as that of a projection, is half the hidden size.

    Raises:
        InputError: the cell cannot have these sizes.
    """

    def layers(inputs: int) -> Recurrent:
        try:
            layer = _layer(config, inputs)
            for number in range(config.layers):
                _check_units(config.trained_cell, layer.sizes(number))
        except ValueError as error:
            raise InputError(
                f"{config.layers} × {config.cell} of {config.hidden_size} units on inputs of "
                f"{inputs}: {error}",
                "a cell that can have such layers",
                "give other sizes, or change the cell",
            ) from None
        return layer

    return task.make_model(layers, config.dropout)


def _layer(config: RunConfig, inputs: int) -> Recurrent:
    cell = config.trained_cell
    sizes: dict[str, Any] = cell.usual_sizes(config.hidden_size)
    if taken := sorted(sizes.keys() & signature(Recurrent).parameters.keys()):
        raise ValueError(f"its size {taken[0]!r} has the name of a setting of every layer")
    return Recurrent(
        cell,
        inputs,
        config.hidden_size,
        config.layers,
        dropout=config.dropout if config.layers > 1 else 0.0,
        bidirectional=config.bidirectional,
        **sizes,
    )


def _check_units(cell: Cell, sizes: Mapping[str, int]) -> None:
    """Raise unless each size of the cell is a number here, and none that is out of all bounds."""
    for size in sizes_of(cell):
        units = sizes[size]
        if units > MOST_UNITS:
            raise ValueError(f"a value of it has {units:,} units, at most {MOST_UNITS:,} may be")


def parameter_count(config: RunConfig, task: Task) -> int:
    """Return how many numbers a model of these settings learns."""
    return sum(weight.numel() for weight in _without_numbers(config, task).parameters())


def weight_shapes(config: RunConfig, task: Task) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of a model of these settings, without making any."""
    weights = _without_numbers(config, task).state_dict()
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def state_shapes(config: RunConfig, task: Task) -> list[tuple[int, ...]]:
    """Return the shapes of the states that are carried from window to window, in their order."""
    if not task.carries:
        return []
    with torch.device("meta"):
        state = _without_numbers(config, task).layer.initial_state(config.batch_size)
    parts = (state,) if isinstance(state, Tensor) else state
    return [tuple(part.shape) for part in parts]


def _without_numbers(config: RunConfig, task: Task) -> SequenceModel:
    with torch.device("meta"):  # shapes alone, so that no size is too large
        return make_model(config, task)
