"""The search for a learning rate: what it suggests, when it ends, and that it leaves no trace."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gatework.errors import InputError
from gatework.tasks import task_class
from gatework.train import RunConfig, Trainer
from gatework.train.finder import STEPS, RateCurve, try_rates, with_found_rate

RATES = tuple(np.geomspace(1e-6, 1, STEPS).tolist())


def falling(noise: float = 0.0) -> tuple[float, ...]:
    """Costs that fall most steeply at 1e-3, are least at 0.1, and rise again."""
    at = np.log10(RATES)
    fall = 4 / (1 + np.exp(4 * (at + 3)))
    rise = 4 * np.maximum(0, at + 1) ** 2
    spread = np.random.default_rng(0).standard_normal(STEPS)
    return tuple((4 + fall + rise + noise * spread).tolist())


def test_the_suggestion_is_halfway_between_the_steepest_and_the_lowest():
    found = RateCurve(RATES, falling(), "nats")
    assert 7e-4 < found.steepest < 1.5e-3
    assert 0.02 < found.lowest < 0.2
    halfway = math.sqrt(found.steepest * found.lowest)
    assert found.suggestion == float(f"{halfway:.3g}")


def test_noise_between_batches_moves_it_little():
    quiet, noisy = (RateCurve(RATES, falling(noise)).suggestion for noise in (0, 0.3))
    assert quiet / 3 < noisy < quiet * 3


def test_costs_that_do_not_fall_clearly_are_no_answer():
    costs = 5 + 0.1 * np.random.default_rng(0).standard_normal(STEPS)
    with pytest.raises(InputError, match=r"lowers the cost clearly[\s\S]*--lr 0\.003"):
        _ = RateCurve(RATES, tuple(costs.tolist()), "nats").suggestion


def test_a_model_that_diverges_at_once_is_no_answer():
    with pytest.raises(InputError, match="lowers the cost clearly"):
        _ = RateCurve(RATES[:1], (4.0,), "nats").suggestion


def test_the_search_ends_where_the_model_diverges(tiny, corpus, monkeypatch):
    task = task_class("text")(tiny.task, {})
    step_of = Trainer.step_of

    def bursting(trainer, rate):
        step = step_of(trainer, rate)
        return step if trainer.steps < 20 else type(step)(1e6, 1.0, rate)

    monkeypatch.setattr(Trainer, "step_of", bursting)
    assert len(try_rates(tiny, task, corpus).rates) == 20


def test_a_gradient_that_is_no_number_ends_it(tiny, corpus, monkeypatch):
    task = task_class("text")(tiny.task, {})
    loss = type(task).loss

    def broken(task, predictions, batch):
        found = loss(task, predictions, batch)
        calls.append(1)
        return found if len(calls) < 31 else found._replace(total=found.total * math.inf)

    calls: list[int] = []
    monkeypatch.setattr(type(task), "loss", broken)
    assert len(try_rates(tiny, task, corpus).costs) == 30


def test_the_run_after_it_is_that_of_the_number_typed(tiny, corpus):
    task = task_class("text")(tiny.task, {})
    config = tiny.model_copy(update={"dropout": 0.2})
    state = torch.get_rng_state()
    found, curve = with_found_rate(config, task, corpus)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.learning_rate == curve.suggestion
    after = after_steps(found, corpus)
    typed = RunConfig.of(**{**config.model_dump(), "learning_rate": curve.suggestion})
    assert all(map(torch.equal, after, after_steps(typed, corpus)))


def after_steps(config, corpus):
    trainer = Trainer(config, task_class("text")(config.task, {}), corpus)
    for k in range(3):
        trainer.step(k / 3)
    return [p.detach().clone() for p in trainer.model.parameters()]


def test_the_table_has_a_row_for_each_rate():
    lines = RateCurve((0.1, 0.2), (3.0, 2.0)).as_csv().splitlines()
    assert lines[0] == "rate,cost,smoothed"
    assert [line.split(",")[:2] for line in lines[1:]] == [["0.1", "3"], ["0.2", "2"]]
