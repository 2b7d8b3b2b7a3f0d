"""What all estimators are told, and the layer that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sklearn.utils import check_random_state

from gatework.cells import catalogue
from gatework.errors import InputError
from gatework.lang import Cell
from gatework.nn import Recurrent
from gatework.train.cells import check_cell, check_inputs

LEAST = {"hidden_size": 1, "num_layers": 1, "max_epochs": 1, "batch_size": 1, "n_iter_no_change": 1}


def check_settings(estimator: Any) -> None:
    """Raise where a setting that all estimators have is out of its range."""
    for name, least in LEAST.items():
        value = getattr(estimator, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _wrong(name, value, f"a whole number from {least} on")
    if not 0 <= estimator.dropout < 1:
        raise _wrong("dropout", estimator.dropout, "a probability from 0 on, below 1")
    if not estimator.learning_rate > 0:
        raise _wrong("learning_rate", estimator.learning_rate, "a number above 0, such as 0.005")
    if not 0 < estimator.validation_fraction < 1:
        raise _wrong("validation_fraction", estimator.validation_fraction, "between 0 and 1")


def check_choice(estimator: Any, name: str, choices: tuple[str, ...]) -> None:
    """Raise where a setting is none of its words."""
    if getattr(estimator, name) not in choices:
        raise _wrong(name, getattr(estimator, name), f"one of {', '.join(map(repr, choices))}")


def _wrong(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"{name}={value!r}", expected, f"give another {name}=")


def make_layer(estimator: Any, input_size: int) -> Recurrent:
    """The layers that an estimator's settings name.

    Raises:
        InputError: There is no such cell, or it cannot have these sizes.
    """
    cell = estimator.cell
    cell = cell if isinstance(cell, Cell) else catalogue()[check_cell(str(cell))]
    check_inputs(cell)
    sizes: dict[str, Any] = cell.usual_sizes(estimator.hidden_size)
    deep = estimator.num_layers > 1
    options = {"bidirectional": estimator.bidirectional, "dropout": estimator.dropout * deep}
    size = estimator.hidden_size
    try:
        return Recurrent(cell, input_size, size, estimator.num_layers, **options, **sizes)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"cell {cell.name!r} with hidden_size={size}, on {input_size} numbers a step: {error}",
            "a cell that can have such layers",
            "give another hidden_size=, or another cell",
        ) from None


@contextmanager
def seeded(estimator: Any) -> Iterator[int]:
    """Draw torch's random numbers by `random_state` alone; outside, they go on as before."""
    seed = int(check_random_state(estimator.random_state).randint(2**31 - 1))
    device = torch.device(estimator.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield seed
