"""The arguments by which a layer's cell is rewritten before it is run."""

from __future__ import annotations

from typing import Any, TypedDict

from gatework.lang import rewriting
from gatework.lang.definition import Cell
from gatework.lang.keeping import of_the_cell
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
    drops = tuple(rewriting.checked(n, options.get(n, 0.0)) for n in DROPS)  # type: ignore[arg-type]
    zoneout = rewriting.by_states(cell, "zoneout", options.get("zoneout", 0.0))
    chosen = frozenset(n for n, on in flags.items() if on)
    return _rewritten(cell, bias, chosen, drops, tuple(zoneout.items()))


DROPS = ("recurrent_dropout", "input_dropout", "weight_drop")


@of_the_cell(64)
def _rewritten(
    cell: Cell,
    bias: bool,
    chosen: frozenset[str],
    drops: tuple[float, ...],
    zoneout: tuple[tuple[str, float], ...],
) -> Cell:
    """The same from arguments that are checked, and hashable: equal ones give one cell."""
    if not bias:
        cell = cell.without_bias()
    if "single_bias" in chosen:
        cell = rewriting.single_bias(cell)
    if "layer_norm" in chosen:
        cell = rewriting.layer_norm(cell)
    for name, p in zip(DROPS, drops, strict=True):
        cell = getattr(rewriting, name)(cell, p)
    return rewriting.zoneout(cell, dict(zoneout))


def described(options: Rewriting) -> list[str]:
    """The options that are in force, as `name=value`, for a layer's repr."""
    values: dict[str, Any] = dict(options)
    return [f"{name}={value}" for name, value in values.items() if value]
