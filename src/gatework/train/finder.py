"""A learning rate that suits a model and its data, found by trying many.

A model of its own takes one step at each of many rates, from far too small to far too large. Where
the cost falls most steeply a rate begins to work; where it is lowest it is about to be too large.
The rate halfway between, on a logarithmic axis, is taken: the former alone is careful, and slow.

Source: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gatework.errors import InputError
from gatework.tasks import Source, Task
from gatework.train.config import RunConfig
from gatework.train.ranks import ALONE, Ranks
from gatework.train.threads import with_threads
from gatework.train.trainer import Diverged, Trainer

__all__ = ["RateCurve", "try_rates", "with_found_rate"]

SMALLEST, LARGEST, STEPS = 1e-6, 1.0, 100
"""Rates that are tried, and how many."""
SPREAD = 5.0
"""Steps over which costs are smoothed: the deviation of a Gaussian weight."""
RECENT, TOO_MUCH = 5, 2.0
"""A model has diverged when so many steps cost so many times what the first ones did."""
LEAST_FALL = 0.05
"""Share by which the cost has to fall, so that it is not the difference between batches."""
DIGITS = 3


@dataclass(frozen=True)
class RateCurve:
    """What training steps of different sizes did to the cost.

    Attributes:
        rates: Learning rates, each tried for one step after the ones before.
        costs: The cost of each step's batch, before the step, in `unit`.
        unit: The task's.
    """

    rates: tuple[float, ...]
    costs: tuple[float, ...]
    unit: str = ""

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The costs, each a mean over its neighbours with Gaussian weights.

        Example:
            >>> RateCurve((0.1, 0.2, 0.4), (2.0, 2.0, 2.0)).smoothed.round(6)
            array([2., 2., 2.])
        """
        at = np.arange(len(self.costs))
        weights = np.exp(-(((at[:, None] - at) / SPREAD) ** 2) / 2)
        mean: NDArray[np.float64] = weights @ np.array(self.costs) / weights.sum(1)
        return mean

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed cost is lowest."""
        return self.rates[int(self.smoothed.argmin())]

    @property
    def steepest(self) -> float:
        """The rate, before that, at which it falls most steeply."""
        slope = np.diff(self.smoothed[: self.rates.index(self.lowest) + 1])
        return self.rates[int(slope.argmin())] if len(slope) else self.lowest

    @property
    def suggestion(self) -> float:
        """The rate halfway between `steepest` and `lowest` on a logarithmic axis.

        Raises:
            InputError: At no rate does the cost fall clearly.

        Example:
            >>> rates = tuple(10.0 ** (k / 10 - 6) for k in range(60))
            >>> costs = tuple(8.0 - max(0, k - 20) / 10 for k in range(60))
            >>> 1e-4 < RateCurve(rates, costs).suggestion < 1
            True
        """
        costs = self.smoothed
        if not costs.min() < (1 - LEAST_FALL) * costs[0]:
            raise InputError(
                f"no learning rate among {len(self.rates)} from {self.rates[0]:g} to "
                f"{self.rates[-1]:.2g} lowers the cost clearly: {costs[0]:.4g} {self.unit} at "
                f"first, {costs.min():.4g} at the least",
                f"a fall by {LEAST_FALL:.0%} in {STEPS} steps",
                "give a larger batch_size, so that batches differ less, or a number: --lr 0.003",
            )
        return _rounded(math.sqrt(self.steepest * self.lowest))

    def as_csv(self) -> str:
        """Return the curve as a table: rate, cost, smoothed cost."""
        rows = zip(self.rates, self.costs, self.smoothed, strict=True)
        return "rate,cost,smoothed\n" + "".join(f"{r:.6g},{c:.6g},{s:.6g}\n" for r, c, s in rows)


def try_rates(config: RunConfig, task: Task, source: Source, ranks: Ranks = ALONE) -> RateCurve:
    """Train a model that is thrown away, by steps that grow, until it diverges or all are tried.

    Random numbers are drawn from a state of their own, and a new trainer on the same source begins
    as if nothing had been.

    Args:
        config: the settings; its own learning rate means nothing here.
        task: what is learned.
        source: from what.
        ranks: the processes that train together.

    Raises:
        InputError: there is too little to learn from for these settings.
    """
    with torch.random.fork_rng(devices=[]), with_threads(config.usable_threads):
        trainer = Trainer(config, task, source, ranks)
        costs: list[float] = []
        rates = np.geomspace(SMALLEST, LARGEST, STEPS).tolist()
        while len(costs) < STEPS and not _has_diverged(costs):
            try:
                costs.append(trainer.step_of(rates[len(costs)]).cost)
            except Diverged:
                break
    return RateCurve(tuple(rates[: len(costs)]), tuple(costs), task.unit)


def with_found_rate(
    config: RunConfig, task: Task, source: Source, ranks: Ranks = ALONE
) -> tuple[RunConfig, RateCurve]:
    """Return the settings with the learning rate that suits them, and how it was found.

    Raises:
        InputError: there is none, or too little to learn from.
    """
    curve = try_rates(config, task, source, ranks)
    return config.model_copy(update={"learning_rate": curve.suggestion}), curve


def _has_diverged(costs: Sequence[float]) -> bool:
    last, first = costs[-RECENT:], costs[:RECENT]
    return bool(costs) and not math.fsum(last) <= TOO_MUCH * math.fsum(first)


def _rounded(rate: float) -> float:
    """A rate as people write it, which is the very number that is trained with."""
    return float(f"{rate:.{DIGITS}g}")
