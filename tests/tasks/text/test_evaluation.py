"""Bits per byte against the definition, byte by byte."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from gatework.tasks.text import LanguageModel
from gatework.tasks.text import bits_per_symbol as bits_per_byte
from language_models import language_model


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return language_model(cell="gru", hidden_size=8, embedding_size=4)


def random_text(length: int) -> torch.Tensor:
    return torch.randint(256, (length,), dtype=torch.uint8)


@torch.no_grad()
def cost_by_hand(model: LanguageModel, text: torch.Tensor) -> float:
    total, state = 0.0, None
    for now, following in pairwise(text):
        scores, state = model(now.long().view(1, 1), state)
        total -= float(torch.log_softmax(scores[0, 0], 0)[int(following)]) / math.log(2)
    return total / (len(text) - 1)


@pytest.mark.parametrize("length", [2, 3, 100, 257])
def test_a_text_of_one_stream_costs_what_its_bytes_cost(model, length):
    text = random_text(length)
    assert bits_per_byte(model, text) == pytest.approx(cost_by_hand(model, text), rel=1e-5)


def test_many_streams_are_the_mean_of_their_stretches(model):
    text = random_text(3 * 256 + 1)
    stretches = [text[i * 256 : (i + 1) * 256 + 1] for i in range(3)]
    expected = sum(bits_per_byte(model, stretch) for stretch in stretches) / 3
    assert bits_per_byte(model, text) == pytest.approx(expected, rel=1e-5)


def test_a_limit_reads_less(model, monkeypatch):
    read = []
    model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    bits_per_byte(model, random_text(64 * 256 * 3 + 1), limit=20_000)
    assert sum(read) == 64 * 256


def test_an_indifferent_model_pays_eight_bits(model):
    for weight in model.decoder.parameters():
        torch.nn.init.zeros_(weight)
    assert bits_per_byte(model, random_text(1000)) == pytest.approx(8)
