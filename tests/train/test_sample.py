"""Sampling: the same seed, the same text; cold follows the likeliest byte."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatework.data import InputError
from gatework.train import LanguageModel, RunConfig, generate
from gatework.train.sample import as_characters, as_text


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(RunConfig.of(cell="lstm", hidden_size=8, embedding_size=4))


def test_the_seed_decides_the_text(model):
    first, again, other = (generate(model, b"ab", 30, seed=s) for s in (1, 1, 2))
    assert len(first) == 30
    assert first == again != other


@torch.no_grad()
def test_a_cold_sample_follows_the_likeliest_byte(model):
    written = generate(model, b"ab", 8, temperature=1e-6)
    text = b"ab"
    for byte in written:
        scores, _ = model(torch.tensor(list(text)).unsqueeze(1))
        assert int(scores[-1, 0].argmax()) == byte
        text += bytes([byte])


def test_an_empty_prompt_begins_a_line(model):
    assert generate(model, b"", 9) == generate(model, b"\n", 9)


@pytest.mark.parametrize(
    ("length", "temperature"),
    [(0, 1.0), (-1, 1.0), (5, 0.0), (5, -1.0), (5, float("nan")), (5, float("inf"))],
)
def test_what_makes_no_sense_is_refused(model, length, temperature):
    with pytest.raises(InputError):
        generate(model, b"a", length, temperature=temperature)


@given(st.binary(max_size=80))
def test_shown_text_cannot_steer_a_terminal(text):
    for shown in (as_text(text), as_characters(text)):
        assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert len(as_characters(text)) == len(text)


@given(st.text(alphabet=st.characters(categories=("L", "N", "P")), max_size=20))
def test_printable_text_is_shown_as_it_is(text):
    assert as_text(text.encode()) == text
