"""Training: the same settings give the same run, and what is to be learned is learned."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forms import one_of_each_form
from gatework.cells import catalogue
from gatework.errors import InputError
from gatework.tasks.text import bits_per_symbol as bits_per_byte
from gatework.train import RunConfig, Trainer
from gatework.train.trainer import learning_rate
from language_models import trainer_on
from parts_of_suite import mostly_slow


def train(config: RunConfig, corpus, steps: int) -> Trainer:
    trainer = trainer_on(corpus, config)
    for step in range(steps):
        trainer.step(step / steps)
    return trainer


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return list(trainer.model.state_dict().values())


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_repeated_text_is_learned(corpus, tiny, cell):
    config = tiny.model_copy(update={"cell": cell, "learning_rate": 0.02})
    untrained, trained = train(config, corpus, 0), train(config, corpus, 60)
    assert bits_per_byte(untrained.model, corpus.valid) > 7
    assert bits_per_byte(trained.model, corpus.valid) < 4


OF_TEXTS = {name: cell for name, cell in catalogue().items() if not cell.further}


@pytest.mark.parametrize("cell", mostly_slow(one_of_each_form(OF_TEXTS)))
def test_a_cell_of_any_form_can_be_trained(corpus, tiny, cell):
    """The trainer carries its states; the battery of tests/cells trains every cell."""
    trainer = train(tiny.model_copy(update={"cell": cell}), corpus, 2)
    assert trainer.steps == 2
    assert math.isfinite(bits_per_byte(trainer.model, corpus.valid))


def test_the_same_seed_gives_the_same_weights(corpus, tiny):
    first, again = train(tiny, corpus, 5), train(tiny, corpus, 5)
    other = train(tiny.model_copy(update={"seed": 6}), corpus, 5)
    assert all(a.equal(b) for a, b in zip(weights(first), weights(again), strict=True))
    assert not all(a.equal(b) for a, b in zip(weights(first), weights(other), strict=True))


def test_the_state_is_carried_until_the_text_begins_again(corpus, tiny):
    trainer = train(tiny, corpus, 1)
    seen = []
    trainer.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    for _ in range(trainer.batches.windows):
        trainer.step(0.5)
    assert all(state is not None for state in seen[:-1])
    assert seen[-1] is None


def test_a_step_reports_what_it_did(corpus, tiny):
    trainer = trainer_on(corpus, tiny)
    step = trainer.step(0.5)
    assert 7 < step.cost < 9
    assert step.gradient_norm > 0
    assert step.learning_rate == learning_rate(0.5, trainer.config.peak_rate)
    assert (trainer.steps, trainer.seen) == (1, 4 * 8)


def test_gradients_that_are_not_finite_end_training_before_they_reach_the_weights(corpus, tiny):
    trainer = trainer_on(corpus, tiny)
    with torch.no_grad():
        trainer.model.decoder.bias[0] = float("inf")
    before = [weight.clone() for weight in weights(trainer)]
    with pytest.raises(InputError, match="diverged at step 1"):
        trainer.step(0.5)
    assert all(a.equal(b) for a, b in zip(weights(trainer), before, strict=True))


@given(st.floats(0, 1))
def test_the_learning_rate_stays_between_its_bounds(progress):
    assert 0.019 <= learning_rate(progress, 1.0) <= 1.0


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(p, 2.0) for p in (0, 0.01, 0.02, 0.5, 1.0)]
    assert rates == sorted(rates[:3]) + sorted(rates[3:], reverse=True)
    assert rates[2] == 2.0
    assert rates[-1] == pytest.approx(0.04)
