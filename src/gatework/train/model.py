"""A language model over bytes.

T  time steps      B  sequences      E  embedding size      H  hidden size
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from gatework.errors import InputError
from gatework.lang import Cell
from gatework.nn import Recurrent
from gatework.nn.recurrent import State
from gatework.train.cells import sizes_of
from gatework.train.config import RunConfig

__all__ = ["ALPHABET", "LanguageModel", "State", "parameter_count", "state_shapes", "weight_shapes"]

ALPHABET = 256
"""Symbols: every value of a byte."""
MOST_UNITS = 1_000_000
"""Of a single value of a cell."""


class LanguageModel(nn.Module):
    """Predicts each next byte from all bytes before it.

        e_t = embedding[byte_t]           [E]
        h_t = layers(e_1 … e_t)           [H]
        p(byte_{t+1}) = softmax(W h_t + b)

    Args:
        config: cell, sizes and dropout are read from it; the seed is not.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ALPHABET, config.embedding_size)
        self.layer = make_layer(config)
        self.dropout = nn.Dropout(config.dropout)
        self.decoder = nn.Linear(self.layer.output_size, ALPHABET)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the scores of the next byte after each input, and the state left behind.

        Args:
            inputs: int64 [T, B].
            state: as returned by the call before; None where the text begins.

        Returns:
            scores [T, B, 256] (logarithms of probabilities up to a constant), state.
        """
        outputs, state = self.layer(self.embedding(inputs), state)  # [T, B, H]
        return self.decoder(self.dropout(outputs)), state


def make_layer(config: RunConfig) -> Recurrent:
    """Make the recurrent layers that the settings name.

    A size that the cell itself names, such as that of a projection, is half the hidden size.

    Raises:
        InputError: the cell cannot have these sizes.
    """
    try:
        layer = _layer(config)
        for number in range(config.layers):
            _check_units(config.trained_cell, layer.sizes(number))
    except ValueError as error:
        raise InputError(
            f"{config.layers} × {config.cell} of {config.hidden_size} units on embeddings of "
            f"{config.embedding_size}: {error}",
            "a cell that can have such layers",
            "give other sizes, or change the cell",
        ) from None
    return layer


def _layer(config: RunConfig) -> Recurrent:
    cell = config.trained_cell
    sizes: dict[str, Any] = cell.usual_sizes(config.hidden_size)
    if taken := sorted(sizes.keys() & signature(Recurrent).parameters.keys()):
        raise ValueError(f"its size {taken[0]!r} has the name of a setting of every layer")
    return Recurrent(
        cell,
        config.embedding_size,
        config.hidden_size,
        config.layers,
        dropout=config.dropout if config.layers > 1 else 0.0,
        **sizes,
    )


def _check_units(cell: Cell, sizes: Mapping[str, int]) -> None:
    """Raise unless each size of the cell is a number here, and none that is out of all bounds."""
    for size in sizes_of(cell):
        units = sizes[size]
        if units > MOST_UNITS:
            raise ValueError(f"a value of it has {units:,} units, at most {MOST_UNITS:,} may be")


def parameter_count(config: RunConfig) -> int:
    """Return how many numbers a model of these settings learns."""
    return sum(weight.numel() for weight in _without_numbers(config).parameters())


def weight_shapes(config: RunConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of a model of these settings, without making any."""
    weights = _without_numbers(config).state_dict()
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def state_shapes(config: RunConfig) -> list[tuple[int, ...]]:
    """Return the shapes of the states that are carried from window to window, in their order."""
    with torch.device("meta"):
        state = _without_numbers(config).layer.initial_state(config.batch_size)
    parts = (state,) if isinstance(state, Tensor) else state
    return [tuple(part.shape) for part in parts]


def _without_numbers(config: RunConfig) -> LanguageModel:
    with torch.device("meta"):  # shapes alone, so that no size is too large
        return LanguageModel(config)
