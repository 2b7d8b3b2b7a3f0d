"""What layers and single steps take beside torch's arguments, and what they make of the cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, cast

from gatework.lang import rewriting
from gatework.lang.definition import Cell
from gatework.lang.keeping import of_the_cell
from gatework.lang.rewriting import Probabilities
from gatework.nn import checks


class StepOptions(TypedDict, total=False):
    """What every single step takes beside torch's arguments.

    Noise that is drawn for a whole sequence has no place in a single step.
    """

    forget_bias: float | None
    layer_norm: bool
    single_bias: bool
    zoneout: Probabilities


class LayerOptions(StepOptions, total=False):
    """What every layer takes; what each means stands in `gatework.nn.Recurrent`."""

    learned_state: bool
    input_dropout: float
    recurrent_dropout: float
    weight_drop: float


NAMES = LayerOptions.__optional_keys__
FLAGS = ("layer_norm", "single_bias")
DROPS = ("recurrent_dropout", "input_dropout", "weight_drop")


def options_among(arguments: Mapping[str, Any]) -> LayerOptions:
    """Those of a constructor's arguments that are options."""
    return cast(LayerOptions, {n: v for n, v in arguments.items() if n in NAMES})


def rewritten(cell: Cell, bias: bool, options: LayerOptions) -> Cell:
    """The cell that a layer runs.

    Args:
        cell: The cell that the layer was given.
        bias: Whether its linear maps have biases.
        options: Those of the layer, of which some rewrite the cell.
    """
    given: dict[str, Any] = {**options}
    flags = {n: given.get(n, False) for n in FLAGS}
    checks.check_flags(**flags)
    drops = tuple(rewriting.checked(n, given.get(n, 0.0)) for n in DROPS)
    zoneout = rewriting.by_states(cell, "zoneout", given.get("zoneout", 0.0))
    chosen = frozenset(n for n, on in flags.items() if on)
    return _rewritten(cell, bias, chosen, drops, tuple(zoneout.items()))


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
