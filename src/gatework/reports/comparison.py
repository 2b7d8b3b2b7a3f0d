"""Cells side by side: the same data, the same number of parameters, the same steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatework.errors import InputError
from gatework.files import write_atomically
from gatework.lang import Cell
from gatework.lens import MemoryHorizon
from gatework.reports.held_out import FAR_LAG, Shown, horizon_of, passage_of
from gatework.reports.subject import TrainedSubject
from gatework.tasks import Task
from gatework.train.cells import cell_settings, check_unlike
from gatework.train.config import RunConfig
from gatework.train.loop import Runner
from gatework.train.models import parameter_count
from gatework.train.records import Record, curve

__all__ = ["REACH_SHARES", "Contender", "matched_configs", "measure", "save_comparison"]

REACH_SHARES = (0.01, 0.0001)
"""Shares of the influence at lag 0 for which is told how far back influence is still larger."""


@dataclass(frozen=True)
class Contender:
    """One cell's part in a comparison, measured."""

    config: RunConfig
    parameters: int
    records: tuple[Record, ...]
    unit: str
    counted: str
    step: str
    horizon: MemoryHorizon
    passage: Shown

    @property
    def validations(self) -> list[Record]:
        """The learning curve."""
        return curve(self.records, "valid")

    @property
    def cost(self) -> float:
        """The last figure on held-out data, of the model that training ended with."""
        return self._last.cost

    @property
    def figures(self) -> Mapping[str, float]:
        """What people quote of that model, by name; none where it is the cost in other words."""
        figures = self._last.figures or {}
        return {} if self.unit in figures else figures

    @property
    def naive(self) -> Mapping[str, float]:
        """The same figures of what needs no model."""
        return {n: v for n, v in (self._last.naive or {}).items() if n in self.figures}

    @property
    def _last(self) -> Record:
        return next(r for r in reversed(self.records) if r.split == "valid")

    @property
    def far_lag(self) -> int:
        """The lag at which the influence that is left is told: 100, or the longest measured."""
        return min(FAR_LAG, int(self.horizon.lags[-1]))

    @property
    def far_influence(self) -> float:
        """The influence at `far_lag`, as a share of that at lag 0."""
        return float(self.horizon.mean()[self.far_lag])


def check_cells(cells: Sequence[Cell], base: RunConfig) -> list[RunConfig]:
    """Return the settings of cells that are to be compared, all but their sizes.

    Raises:
        InputError: there is none, one cannot be trained, or two have the same name.
    """
    if not cells:
        raise InputError("no cells", "one or more to compare", "give rnn, lstm and gru")
    common = base.model_dump()
    configs = [RunConfig.of(**{**common, **cell_settings(cell)}) for cell in cells]
    check_unlike(cells)
    return configs


def matched_configs(configs: Sequence[RunConfig], parameters: int, task: Task) -> list[RunConfig]:
    """Return the settings for each cell, its hidden size chosen so that all models weigh the same.

    Args:
        configs: from `check_cells`.
        parameters: numbers to learn in the whole model; met within about a hundredth.
        task: what they learn.

    Raises:
        InputError: even one unit is too many parameters.
    """
    return [_with_parameters(config, parameters, task) for config in configs]


def measure(runner: Runner) -> Contender:
    """Measure a trained model on its held-out data: how far back it remembers, what its gates do.

    Its held-out data must have passed `check_held_out`.
    """
    trainer = runner.trainer
    config, task = trainer.config, trainer.task
    subject = TrainedSubject(config.cell, config, task, trainer.source, trainer.model)
    return Contender(
        config=config,
        parameters=runner.run.manifest.parameters,
        records=tuple(runner.run.records()),
        unit=task.unit,
        counted=task.counted,
        step=subject.held_out.step,
        horizon=horizon_of(subject),
        passage=passage_of(subject),
    )


def save_comparison(contenders: Sequence[Contender], path: Path) -> None:
    """Write the measurements as JSON, and each horizon whole into the folder of its run."""
    cells = {contender.config.cell: _as_json(contender) for contender in contenders}
    content = json.dumps({"format": 1, "cells": cells}, indent=1)
    write_atomically(path, content.encode())
    for contender in contenders:
        contender.horizon.save(path.parent / contender.config.cell / "horizon.safetensors")


def _with_parameters(config: RunConfig, parameters: int, task: Task) -> RunConfig:
    """Find the hidden size by bisection: a model's parameters grow with it."""

    def sized(hidden_size: int) -> RunConfig:
        return config.model_copy(update={"hidden_size": hidden_size})

    def excess(hidden_size: int) -> int:
        return parameter_count(sized(hidden_size), task) - parameters

    low, high = 1, 2
    if excess(low) > 0:
        least = parameter_count(sized(low), task)
        raise InputError(
            f"parameters = {parameters:,}",
            f"at least {least:,} for {config.cell}, many of which stand around its layers",
            "give more --parameters, or smaller sizes",
        )
    if excess(high) == excess(low):
        raise InputError(
            f"cell {config.cell!r}, which has as many parameters for each hidden size",
            "cells that grow with it, so that all can have equally many",
            "leave it out, and train it alone",
        )
    while excess(high) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return min(sized(low), sized(high), key=lambda c: abs(excess(c.hidden_size)))


def _as_json(contender: Contender) -> dict[str, Any]:
    horizon = contender.horizon
    low, high = horizon.band()
    return {
        "config": contender.config.model_dump(mode="json"),
        "parameters": contender.parameters,
        "cost": contender.cost,
        "unit": contender.unit,
        "figures": dict(contender.figures),
        "naive": dict(contender.naive),
        "learning_curve": [[r.seen, r.seconds, r.cost] for r in contender.validations],
        "reach": {
            str(share): [horizon.reach(share), *horizon.reach_band(share)] for share in REACH_SHARES
        },
        "influence": horizon.mean().tolist(),
        "influence_band": [low.tolist(), high.tolist()],
    }
