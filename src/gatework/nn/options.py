"""The arguments by which a layer's cell is rewritten before it is run."""

from __future__ import annotations

from typing import Any, TypedDict

from gatework.lang import rewriting
from gatework.lang.definition import Cell
from gatework.lang.rewriting import Probabilities
from gatework.nn import checks


class Rewriting(TypedDict, total=False):
    """How a cell is rewritten; what each means stands in `gatework.nn.Recurrent`."""

    layer_norm: bool
    single_bias: bool
    input_dropout: float
    recurrent_dropout: float
    weight_drop: float
    zoneout: Probabilities


class StepOptions(TypedDict, total=False):
    """What every single step takes beside torch's arguments.

    Noise that is drawn for a whole sequence has no place in a single step.
    """

    forget_bias: float | None
    layer_norm: bool
    single_bias: bool
    zoneout: Probabilities


class LayerOptions(StepOptions, total=False):
    """What every layer takes beside torch's arguments."""

    learned_state: bool
    input_dropout: float
    recurrent_dropout: float
    weight_drop: float


def rewritten(cell: Cell, bias: bool, options: Rewriting) -> Cell:
    """The cell that a layer runs.

    Args:
        cell: The cell that the layer was given.
        bias: Whether its linear maps have biases.
        options: How it is rewritten.
    """
    flags = {n: options.get(n, False) for n in ("layer_norm", "single_bias")}
    checks.check_flags(**flags)
    if not bias:
        cell = cell.without_bias()
    if flags["single_bias"]:
        cell = rewriting.single_bias(cell)
    if flags["layer_norm"]:
        cell = rewriting.layer_norm(cell)
    cell = rewriting.recurrent_dropout(cell, options.get("recurrent_dropout", 0.0))
    cell = rewriting.input_dropout(cell, options.get("input_dropout", 0.0))
    cell = rewriting.weight_drop(cell, options.get("weight_drop", 0.0))
    return rewriting.zoneout(cell, options.get("zoneout", 0.0))


def described(options: Rewriting) -> list[str]:
    """The options that are in force, as `name=value`, for a layer's repr."""
    values: dict[str, Any] = dict(options)
    return [f"{name}={value}" for name, value in values.items() if value]
