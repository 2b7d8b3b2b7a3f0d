"""What a model loses when a gate is held or a unit silenced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.analysis.gates import named_gates
from gatework.lang.axes import SCALAR, has_axes, slots
from gatework.lang.definition import Cell
from gatework.lang.expressions import Expr
from gatework.lens.arguments import check_functions, check_several, check_whole
from gatework.lens.measurement import Measurement, axes
from gatework.lens.measuring import Progress, state_values
from gatework.lens.watching import hold, in_eval_mode, place_name, recurrent_layers
from gatework.nn import Recurrent

__all__ = ["Ablation", "ablate", "held_gates", "silenced_units"]

Changes = Mapping[str, Mapping[str, Any]]
"""By name, what is held: see `gatework.lens.hold`."""


@dataclass(frozen=True, eq=False)
class Ablation(Measurement):
    """A metric of a model as it is, and with something in it held.

    To silence a unit is to hold it at 0 at every step (Karpathy, Johnson & Fei-Fei 2015 look at
    units, Morcos et al. 2018, "On the importance of single directions for generalization", section
    2, silence them): what reads it then reads 0. Figures are in the metric's own units.

    Attributes:
        changes: what was held, by name.
        baseline: the metric of the model as it is.
        metric: the metric with each change.
    """

    changes: tuple[str, ...]
    baseline: float
    metric: NDArray[np.float64] = field(metadata=axes("change"))

    @property
    def difference(self) -> NDArray[np.float64]:
        """By how much each change raises the metric: a loss where less is better."""
        return np.asarray(self.metric - self.baseline)

    def largest(self, count: int = 10) -> tuple[tuple[str, float], ...]:
        """The changes that move the metric most, either way, with their differences.

        First of all those with which it is no finite number.
        """
        size = np.nan_to_num(np.abs(self.difference), nan=np.inf)
        order = np.argsort(-size, kind="stable")[:count]
        return tuple((self.changes[k], float(self.difference[k])) for k in order)


def ablate(
    model: nn.Module,
    metric: Callable[[nn.Module], float],
    changes: Changes | None = None,
    *,
    progress: Progress | None = None,
) -> Ablation:
    """Compute a metric of a model as it is and with each of some changes. See `Ablation`.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        metric: from the model to a number, such as its loss on held-out data. It is computed once
            for each change, on the same data.
        changes: what to hold, by a name of yours; see `hold`. When not given, each gate of the
            model is held open and held closed: `held_gates(model)`. `silenced_units` makes those
            that silence units.
        progress: told after each change how many have been tried.

    Raises:
        ValueError: a change names a value that no layer has, or the metric of the model as it is is
            not finite.

    Example:
        >>> import torch, gatework as gw
        >>> layer, x = gw.nn.LSTM(4, 8), torch.randn(20, 3, 4)
        >>> found = gw.lens.ablate(layer, lambda model: model(x)[0].square().mean().item())
        >>> found.changes
        ('l0.i = 0', 'l0.i = 1', 'l0.f = 0', 'l0.f = 1', 'l0.o = 0', 'l0.o = 1')
        >>> found.metric[4]  # with the output gate closed nothing comes out
        np.float64(0.0)
    """
    check_functions(metric=metric)
    changes = held_gates(model) if changes is None else changes
    if not isinstance(changes, Mapping):
        raise TypeError(
            f"changes is a {type(changes).__name__}; expected a mapping from names of yours to "
            'what is held, such as {"open": {"f": 1.0}}'
        )
    found = []
    with in_eval_mode(model):
        baseline = _number(metric(model))
        if not np.isfinite(baseline):
            raise ValueError(
                f"the metric of the model as it is is {baseline}; expected a finite number, with "
                "which those of the changes can be compared"
            )
        for done, pins in enumerate(changes.values(), 1):
            with hold(model, pins):
                found.append(_number(metric(model)))
            if progress is not None:
                progress(done)
    return Ablation(tuple(changes), baseline, np.array(found, np.float64))


def _number(value: Any) -> float:
    """What a metric gave, as a number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().item()
    if isinstance(value, int | float | np.number):
        return float(value)
    raise TypeError(f"the metric gave a {type(value).__name__}; expected one number")


def held_gates(model: nn.Module, axis: str | None = None) -> dict[str, dict[str, Any]]:
    """Each gate of a model held closed, at 0, and open, at 1; for `ablate`.

    Args:
        model: any module that holds recurrent layers of Gatework.
        axis: the name of an axis, such as "head": gates that have it are held at each place on it
            alone; others are left out.

    Raises:
        ValueError: no gate has that axis.

    Example:
        >>> import gatework as gw
        >>> list(held_gates(gw.nn.GRU(4, 8)).values())
        [{'l0.r': 0.0}, {'l0.r': 1.0}, {'l0.z': 0.0}, {'l0.z': 1.0}]
        >>> layer = gw.nn.Recurrent(gw.cells.delta_net, 4, head=2, key=3, value=4)
        >>> list(held_gates(layer, "head"))
        ['l0.b[head 0] = 0', 'l0.b[head 0] = 1', 'l0.b[head 1] = 0', 'l0.b[head 1] = 1']
    """
    gates = [(p, n, la, v) for p, la in _places(model) for n, v in named_gates(la.cell).items()]
    if axis is None:
        names = [f"{place}.{gate}" for place, gate, *_ in gates]
        return {f"{name} = {end:g}": {name: end} for name in names for end in (0.0, 1.0)}
    found = {
        f"{place}.{gate}[{axis} {k}] = {end:g}": {f"{place}.{gate}": {axis: {k: end}}}
        for place, gate, layer, value in gates
        if axis in slots(value.size)
        for k in range(layer.sizes(0)[axis])
        for end in (0.0, 1.0)
    }
    if not found:
        raise _no_axis(axis, "gate", [value for *_, value in gates])
    return found


def silenced_units(
    model: nn.Module, units: Iterable[int] | None = None, axis: str | None = None
) -> dict[str, dict[str, dict[Any, Any]]]:
    """Each unit of each layer and direction silenced, held at 0; for `ablate`.

    Held is the unit's output, and those of its states that have the output's size. With an axis,
    such as "head", all units at one place on it are silenced together: in the output and in every
    state that has the axis.

    Args:
        model: any module that holds recurrent layers of Gatework.
        units: numbers of the units, or of places on the axis; all when not given.
        axis: the name of an axis.

    Raises:
        ValueError: no output or state has that axis.

    Example:
        >>> import gatework as gw
        >>> silenced_units(gw.nn.LSTM(4, 8), [5])
        {'l0[5]': {'l0.h': {5: 0.0}, 'l0.c': {5: 0.0}}}
        >>> layer = gw.nn.Recurrent(gw.cells.delta_net, 4, head=2, key=3, value=4)
        >>> silenced_units(layer, [1], axis="head")
        {'l0[head 1]': {'l0.output': {'head': {1: 0.0}}, 'l0.S': {'head': {1: 0.0}}}}
    """
    check_several("numbers of units, such as [0, 5]", units=units)
    wanted = None if units is None else list(units)
    for unit in wanted or ():
        check_whole(unit=unit)
    found: dict[str, dict[str, dict[Any, Any]]] = {}
    for place, layer in _places(model):
        cell = layer.cell
        given = _given_out(cell)
        if axis is not None:
            names = [n for n, value in given.items() if axis in slots(value.size)]
            places = range(layer.sizes(0)[axis]) if names and wanted is None else wanted or ()
            for k in places if names else ():
                found[f"{place}[{axis} {k}]"] = {f"{place}.{n}": {axis: {k: 0.0}} for n in names}
            continue
        states = [n for n, value in given.items() if value.size == cell.output_value.size]
        for unit in range(layer.output_size) if wanted is None else wanted:
            found[f"{place}[{unit}]"] = {f"{place}.{state}": {unit: 0.0} for state in states}
    if axis is not None and not found:
        values = [v for _, layer in _places(model) for v in _given_out(layer.cell).values()]
        raise _no_axis(axis, "output or state", values)
    return found


def _given_out(cell: Cell) -> dict[str, Expr]:
    """The output and the states of a cell by name."""
    output = {cell.output_name: cell.output_value} if cell.output_value.args else {}
    return {**output, **state_values(cell)}


def _no_axis(axis: str, what: str, values: Iterable[Expr]) -> ValueError:
    """What is said where no value has an axis."""
    have = {a: None for value in values if has_axes(value.size) for a in slots(value.size)}
    known = ", ".join(a for a in have if a != SCALAR)
    return ValueError(f"no {what} has the axis {axis!r}; expected one of {known or 'none'}")


def _places(model: nn.Module) -> Iterator[tuple[str, Recurrent]]:
    """Each layer and direction of a model by its name, with the module it belongs to."""
    for path, layer in recurrent_layers(model).items():
        for k in range(layer.num_layers):
            for d in range(layer.num_directions):
                yield place_name(path, k, d), layer
