"""The model: shapes, carried state, and nothing seen of the future."""

from __future__ import annotations

import pytest
import torch

from gatework.tasks import task_class
from gatework.tasks.text import LanguageModel
from gatework.train import RunConfig
from gatework.train.models import make_model, parameter_count
from language_models import language_model


def make(cell: str, layers: int = 1) -> LanguageModel:
    torch.manual_seed(0)
    return language_model(cell=cell, hidden_size=10, embedding_size=5, layers=layers).eval()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "projected_lstm", "gru"])
def test_reading_in_two_parts_is_reading_in_one(cell, layers):
    model, inputs = make(cell, layers), torch.randint(256, (9, 3))
    whole, _ = model(inputs)
    first, state = model(inputs[:4])
    second, _ = model(inputs[4:], state)
    assert whole.shape == (9, 3, 256)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_a_score_depends_on_no_later_byte():
    model, inputs = make("gru"), torch.randint(256, (6, 2))
    changed = inputs.clone()
    changed[4] = (changed[4] + 1) % 256
    before, after = model(inputs)[0], model(changed)[0]
    assert before[:4].equal(after[:4])
    assert not before[4:].equal(after[4:])


def test_counting_parameters_counts_and_leaves_the_random_state_alone():
    tiny = RunConfig.of(cell="lstm", hidden_size=12, embedding_size=6)
    task = task_class("text")(tiny.task, {})
    before = torch.get_rng_state()
    counted = parameter_count(tiny, task)
    assert torch.get_rng_state().equal(before)
    assert counted == sum(p.numel() for p in make_model(tiny, task).parameters())
