"""A model as parts that read a step one after the other."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatework.errors import InputError
from gatework.nn import Recurrent
from gatework.tasks.forecasting.model import Forecaster
from gatework.tasks.labelling.model import Labeller

ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softsign)
IDLE = (nn.Dropout, nn.Identity)  # which do nothing once trained
KNOWN = (Recurrent, nn.LSTM, nn.GRU, nn.RNN, nn.Linear, nn.Embedding, *ACTIVATIONS)
TAKEN = (
    "layers of gatework.nn, torch.nn.LSTM, GRU and RNN, Linear, "
    f"{', '.join(a.__name__ for a in ACTIVATIONS)}, and an Embedding at the beginning"
)
TRIED = 5  # steps


@dataclass(frozen=True)
class Pooled:
    """The mean, or the maximum, of so many units of all steps so far."""

    kind: str
    units: int


@dataclass(frozen=True)
class Joined:
    """A linear layer that also reads, at its end, numbers that hold for the whole sequence."""

    linear: nn.Linear
    static: int


Part = nn.Module | Pooled | Joined


def parts_of(model: nn.Module) -> list[Part]:
    """The parts of a model in the order in which they read a step.

    A module with a `forward` of its own is run once beside its parts one after the other.

    Raises:
        InputError: If it does something else than they do.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.GRU(1, 8), torch.nn.Linear(8, 1), torch.nn.Tanh())
        >>> [type(part).__name__ for part in parts_of(model)]
        ['GRU', 'Linear', 'Tanh']
    """
    if isinstance(model, Forecaster):
        raise InputError(
            "the model of a forecast, which also reads the calendar and values of past seasons",
            "a model that reads a step and what it has kept",
            "forecast with `gatework forecast`, or export its layers alone: model.layer",
        )
    if isinstance(model, Labeller):
        return [*_of_labeller(model)]
    parts = [*_leaves(model)]
    if not parts:
        raise InputError("a model with no layers", TAKEN, "give it the layers to export")
    if not (isinstance(model, nn.Sequential) or parts == [model]):
        _check_order(model, parts)
    return [*parts]


def _of_labeller(model: Labeller) -> Iterator[Part]:
    yield model.layer
    units = model.layer.output_size * model.layer.num_directions
    if model.pool in ("mean", "max"):
        yield Pooled(model.pool, units)
    static = model.head.in_features - units
    yield Joined(model.head, static) if static else model.head


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """What computes, in the order in which it was put into a model."""
    children = [*module.children()]
    if isinstance(module, Recurrent | nn.RNNBase) or not children:
        if not isinstance(module, (*IDLE, nn.Sequential)):
            yield _known(module)
        return
    for child in children:
        yield from _leaves(child)


def _known(part: nn.Module) -> nn.Module:
    if isinstance(part, KNOWN):
        return part
    raise InputError(
        f"a part that has no C form: {type(part).__name__}",
        TAKEN,
        "put the parts to be exported into a torch.nn.Sequential",
    )


# ---- a forward pass of one's own ---------------------------------------------------------------


def _check_order(model: nn.Module, parts: Sequence[nn.Module]) -> None:
    """Run a model beside its parts, on random steps; it may return the last step alone."""
    model, copies = copy.deepcopy((model, parts))
    steps = _steps(parts[0])
    try:
        with torch.no_grad():
            found = _output(model.float().cpu().eval()(_batch(steps, parts)))
            expected = _one_after_the_other(copies, steps)
        rows = found.reshape(-1, expected.shape[-1])
        same = torch.allclose(rows, expected[-len(rows) :], rtol=1e-4, atol=1e-5)
    except Exception as error:
        raise _own_way(model, f"it fails: {error}") from error
    if not same or len(rows) not in (1, TRIED):
        raise _own_way(model, "its output is another one")


def _own_way(model: nn.Module, what: str) -> InputError:
    return InputError(
        f"{type(model).__name__}, which does not run its parts one after the other: on "
        f"{TRIED} random steps {what}",
        "a forward that hands each part the output of the one before it",
        "put the parts to be exported into a torch.nn.Sequential, in their order",
    )


def _steps(first: nn.Module) -> Tensor:
    """Random steps that a part reads."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(first, nn.Embedding):
        return torch.randint(first.num_embeddings, (TRIED,), generator=generator)
    units: Any = getattr(first, "input_size", getattr(first, "in_features", 1))
    return torch.randn(TRIED, units, generator=generator)


def _batch(steps: Tensor, parts: Sequence[nn.Module]) -> Tensor:
    """Steps as a batch of one sequence, laid out as the layers have it."""
    batch_first = any(getattr(part, "batch_first", False) for part in parts)
    return steps.unsqueeze(0 if batch_first else 1)


def _one_after_the_other(parts: Sequence[nn.Module], x: Tensor) -> Tensor:
    for part in parts:
        x = _output(part(x))
    return x


def _output(given: Any) -> Tensor:
    """What a module gives, without the states that it leaves."""
    found: Tensor = given[0] if isinstance(given, tuple) else given
    return found
