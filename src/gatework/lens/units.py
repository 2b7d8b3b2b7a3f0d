"""Units whose activation tracks a property of the sequence, found and judged on other steps.

T  time steps      B  sequences      n  units of a state      P  properties
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.lang.definition import Cell, check_known
from gatework.lang.expressions import Expr
from gatework.lens.arguments import check_several
from gatework.lens.axes import Lengths, label
from gatework.lens.measurement import Arrays, Measurement, axes
from gatework.lens.measuring import Progress, Run, Scatter, measure, ratio, run_on, state_values
from gatework.lens.watching import Reading

__all__ = ["FoundUnits", "TrackingUnit", "UnitMeter", "find_units"]

Labelled = tuple[Any, Mapping[str, NDArray[Any]]]
"""What the model is called with, and by name the property at each step [T, B]."""

RIDGE = 1e-4
"""Penalty of the linear probe, as a share of the units' mean variance."""


MOST_PROBED = 1_024
"""Units of a value that a probe reads; it needs the moments of every pair of them."""


class TrackingUnit(NamedTuple):
    """A unit and how well it tracks a property."""

    value: str
    """Full name of the value, such as "layer.l0.c"."""
    unit: int
    correlation: float
    """Pearson's r on the steps on which units are chosen."""
    held_out: float
    """Pearson's r on the other steps."""


@dataclass(frozen=True, eq=False)
class FoundUnits(Measurement):
    """How well each unit, and all units of a state together, track properties of the sequence.

    The correlation is Pearson's r between a unit's activation and the property over all steps; for
    a property of yes or no it is the point-biserial correlation. The probe is ridge regression of
    the property on all units of a state (Alain & Bengio 2017, "Understanding intermediate layers
    using linear classifier probes"), its score R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)² with the held-out
    mean ȳ. Batches are taken in turn: the first, third, … to choose and fit on, the second,
    fourth, … to judge on ("held out"). All figures are without unit; a unit that never moves has
    correlation 0.

    Attributes:
        properties: the P names.
        steps: how many steps were fitted on.
        held_out_steps: how many were judged on.
        correlation: of each value by full name, r on the fitted steps.
        held_out: the same, r on the held-out steps.
        probe: of each value by full name, the probe's held-out R² for each property; of values of
            more than 1,024 units there is none.
        weights: of each of these, the probe's weight of each unit, in units of the property per
            standard deviation of the activation.
        lengths: of each value with axes, how long they are, by name; the last is the fastest.
    """

    properties: tuple[str, ...]
    steps: int
    held_out_steps: int
    correlation: Arrays = field(metadata=axes("property", "unit"))
    held_out: Arrays = field(metadata=axes("property", "unit"))
    probe: Arrays = field(metadata=axes("property"))
    weights: Arrays = field(metadata=axes("property", "unit"))
    lengths: Mapping[str, Lengths] = field(default_factory=dict)

    def label(self, value: str, unit: int) -> str:
        """A unit by its place on each axis, such as "head 2, key 5"; its number without axes."""
        return label(self.lengths.get(value, {}), unit)

    def best(self, name: str, count: int = 5) -> tuple[TrackingUnit, ...]:
        """The units that track a property best where they were chosen, best first.

        Args:
            name: the property.
            count: how many units.

        Raises:
            ValueError: no property has that name.
        """
        check_known("property", [name], self.properties, "the measurement")
        p = self.properties.index(name)
        units = [
            TrackingUnit(value, int(unit), float(r[p, unit]), float(self.held_out[value][p, unit]))
            for value, r in self.correlation.items()
            for unit in np.argsort(-np.abs(r[p]), kind="stable")[:count]
        ]
        return tuple(sorted(units, key=lambda u: -abs(u.correlation))[:count])


def find_units(
    model: nn.Module,
    batches: Iterable[Labelled],
    *,
    values: tuple[str, ...] | None = None,
    run: Run | None = None,
    progress: Progress | None = None,
) -> FoundUnits:
    """Find units that track properties of the sequence. See `FoundUnits` for the definitions.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batches: pairs of what the model is called with and, by name, the property at each step,
            [T, B]; read once. `label_text` makes them of a text.
        values: names of the cells' values to look at, such as ("c", "f"); the states when not
            given, and the output where a state has more units than a probe reads.
        run: how the model is run on the first of a pair. To carry a state, see `carry_state`.
        progress: told after each batch how many steps have been read so far.

    Raises:
        ValueError: there are fewer than two batches, labels of another shape than the steps, or
            labels that are not finite.

    Example:
        >>> import torch, gatework as gw
        >>> layer, x = gw.nn.GRU(2, 8), torch.randn(50, 4, 2)
        >>> batches = [(part, {"first input": part[..., 0].numpy()}) for part in x.split(25)]
        >>> found = gw.lens.find_units(layer, batches)
        >>> found.best("first input", count=1)[0].value
        'l0.h'
    """
    run_inputs = run or run_on
    (found,) = measure(
        model,
        batches,
        UnitMeter(values),
        run=lambda model, batch: run_inputs(model, _pair(batch)[0]),
        progress=progress,
    )
    return found  # type: ignore[no-any-return]


@dataclass
class _Many:
    """The moments of many units with each property, as `Scatter` has them for pairs of units.

    Attributes:
        count: rows so far.
        mean: float64 [n + P]; the properties stand last.
        squares: float64 [n + P], Σ (row − mean)².
        scatter: float64 [n + P, P], Σ (row − mean)(property − mean)ᵀ.
    """

    properties: int
    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0
    scatter: Any = 0.0

    def add(self, rows: Tensor) -> None:
        """Take in rows [N, n + P]."""
        if not len(rows):
            return
        mean, last = rows.mean(0), slice(-self.properties, None)
        centred = rows - mean
        delta = mean.double().cpu().numpy() - self.mean
        share = len(rows) / (self.count + len(rows))
        cross = (centred.T @ centred[:, last]).double().cpu().numpy()
        squares = centred.square().sum(0).double().cpu().numpy()
        between = self.count * share
        self.scatter = self.scatter + cross + between * np.outer(delta, delta[last])
        self.squares = self.squares + squares + between * delta * delta
        self.mean = self.mean + share * delta
        self.count += len(rows)


class _Halves:
    """Moments of units and properties together, on fitted and on held-out steps."""

    def __init__(self, units: int, properties: int) -> None:
        self.probed = units <= MOST_PROBED

        def moments() -> Any:
            return Scatter(joint=True) if self.probed else _Many(properties)

        self.fitted, self.held_out = moments(), moments()


class UnitMeter:
    """Collects second moments as batches come. See `gatework.lens.measure`.

    Args:
        values: as in `find_units`. The batches are pairs as well.
    """

    def __init__(self, values: tuple[str, ...] | None = None) -> None:
        check_several('names of values, such as ("c", "f")', values=values)
        self.values = (values,) if isinstance(values, str) else values
        self._halves: dict[str, _Halves] = {}
        self._properties: tuple[str, ...] = ()
        self._lengths: dict[str, Lengths] = {}

    def wanted(self, cell: Cell) -> dict[str, Expr]:
        """The states and the output, or the values asked for."""
        if self.values is None:
            output = {cell.output_name: cell.output_value} if cell.output_value.args else {}
            return {**state_values(cell), **output}
        check_known("value", self.values, cell.names, f"cell {cell.name!r}")
        return {name: cell.names[name] for name in self.values}

    def add(self, reading: Reading, batch: Labelled, number: int) -> None:
        """Take in the steps of one call."""
        half = "held_out" if number % 2 else "fitted"
        labels = self._stacked(_pair(batch)[1])  # [T, B, P]
        self._lengths |= reading.lengths()
        for place, values in reading.places():
            for name in self._looked_at(reading.layer.cell, values):
                steps = values[name]  # [T, B, n]
                if steps.shape[:2] != labels.shape[:2]:
                    raise ValueError(
                        f"the labels have {list(labels.shape[:2])} steps and sequences, "
                        f"{place}.{name} has {list(steps.shape[:2])}; give labels [T, B] for "
                        "every step that the layer makes"
                    )
                rows = torch.cat([reading.rows(steps), reading.rows(labels.to(steps))], 1)
                size = steps.shape[2], labels.shape[2]
                halves = self._halves.setdefault(f"{place}.{name}", _Halves(*size))
                getattr(halves, half).add(rows)

    def _looked_at(self, cell: Cell, values: Mapping[str, Tensor]) -> Iterable[str]:
        """The names of the values looked at: with wide states, the output too."""
        if self.values is not None:
            return self.values
        states = state_values(cell)
        wide = any(values[name].shape[2] > MOST_PROBED for name in states)
        return self.wanted(cell) if wide else states

    def _stacked(self, labels: Mapping[str, Any]) -> Tensor:
        """The properties of a batch in one tensor, [T, B, P]."""
        names = tuple(labels)
        self._properties = self._properties or names
        if names != self._properties or not names:
            raise ValueError(
                f"a batch has the properties {', '.join(names) or 'none'}; "
                f"expected {', '.join(self._properties) or 'at least one'}, as in the first"
            )
        arrays = [np.asarray(label, np.float64) for label in labels.values()]
        stacked = torch.from_numpy(np.stack(arrays, -1))
        if stacked.dim() == 2:  # of one sequence alone
            stacked = stacked.unsqueeze(1)
        if not stacked.isfinite().all():
            raise ValueError("a label is not finite; give a number for every step")
        return stacked

    def result(self) -> FoundUnits:
        """Correlations and probes."""
        halves = next(iter(self._halves.values()))
        if not halves.held_out.count:
            raise ValueError(
                "there is one batch; expected at least two, since every second is held out; "
                "split the data into more"
            )
        count = len(self._properties)
        probes = {name: _probe(h, count) for name, h in self._halves.items() if h.probed}
        return FoundUnits(
            properties=self._properties,
            steps=halves.fitted.count,
            held_out_steps=halves.held_out.count,
            correlation={n: _correlation(h.fitted, count) for n, h in self._halves.items()},
            held_out={n: _correlation(h.held_out, count) for n, h in self._halves.items()},
            probe={name: score for name, (score, _) in probes.items()},
            weights={name: weights for name, (_, weights) in probes.items()},
            lengths={name: own for name, own in self._lengths.items() if name in self._halves},
        )


def _pair(batch: Any) -> Labelled:
    """A batch, checked to be a pair of inputs and named labels."""
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[1], Mapping):
        raise TypeError(
            f"a batch is a {type(batch).__name__}; expected a pair: what the model is called with, "
            "and a mapping from names of properties to labels [T, B]"
        )
    return batch[0], batch[1]


def _correlation(of: Scatter | _Many, count: int) -> NDArray[np.float64]:
    """Pearson's r between each property and each unit, [P, n]; the properties stand last."""
    covariance = of.scatter[:-count, -count:].T
    spread = np.sqrt(of.squares if isinstance(of, _Many) else np.diag(of.scatter))
    scale = np.outer(spread[-count:], spread[:-count])
    return ratio(covariance, scale)


def _probe(halves: _Halves, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The held-out R² of ridge regression [P], and its weights [P, n] per standard deviation.

    From moments alone: with weights w and intercept fitted on one half, the squared error on the
    other is w'Sw − 2 w'Sy + Syy about its own means, plus the squared error of its mean.
    """
    fit, held = halves.fitted, halves.held_out
    units = fit.scatter[:-count, :-count]
    penalty = RIDGE * max(np.trace(units) / len(units), np.finfo(float).tiny)
    weights = np.linalg.solve(
        units + penalty * np.eye(len(units)), fit.scatter[:-count, -count:]
    )  # [n, P]
    left = held.scatter[:-count, :-count]
    error = (
        np.einsum("np,nm,mp->p", weights, left, weights)
        - 2 * np.einsum("np,np->p", weights, held.scatter[:-count, -count:])
        + np.diag(held.scatter)[-count:]
    )
    shift = held.mean - fit.mean
    error += held.count * (shift[-count:] - shift[:-count] @ weights) ** 2
    total = np.diag(held.scatter)[-count:]
    return ratio(total - error, total), weights.T * fit.deviation()[:-count]
