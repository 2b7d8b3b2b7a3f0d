"""Sampling: the same seed, the same text; cold follows the likeliest byte."""

from __future__ import annotations

import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatework.errors import InputError
from gatework.tasks.text import LanguageModel, generate
from gatework.tasks.text.sampling import as_text, openings, write_on
from language_models import language_model


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return language_model(cell="lstm", hidden_size=8, embedding_size=4)


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


def test_a_sample_comes_byte_by_byte(model):
    pieces = list(write_on(model, b"ab", 9, seed=3))
    assert all(len(piece) == 1 for piece in pieces)
    assert b"".join(pieces) == generate(model, b"ab", 9, seed=3)


TEXTS = {
    "Chinese": "床前明月光，疑是地上霜。\n白日依山尽，黄河入海流。\n" * 20,
    "one long line": "床前明月光疑是地上霜" * 50,
    "Arabic": "السلام عليكم\nقِفا نَبكِ\n" * 20,
    "Persian": "می\u200cخواهم بروم\nآمد\n" * 20,
    "Thai": "สวัสดีครับที่นี่\n" * 20,
    "Python": "def f(x):\n    return x\n\n" * 20,
    "emoji": "👩\u200d👧\u200d👦 a\r\n👍🏽 b\r\n" * 20,
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_gives_openings_of_whole_characters(name):
    text = TEXTS[name].encode()[1:]  # held-out text may begin inside a character
    found = openings(text, 2)
    assert found
    for opening in found:
        assert opening.strip()
        assert opening.decode() in TEXTS[name]
        assert as_text(opening) == opening.decode()
    assert len({*found}) == len(found)


def test_a_text_that_is_not_utf_8_gives_what_can_be_printed_of_it():
    text = "était là\nau lait\nGröße\n".encode("latin-1") * 20
    assert openings(text, 3) == [b"au "]
    assert openings(b"\xff\xfe\0\1" * 100, 2) == []
    assert openings(b"", 2) == []


@given(st.binary(max_size=80))
def test_shown_text_cannot_steer_a_terminal(text):
    shown = as_text(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in shown)


@given(st.text(alphabet=st.characters(categories=("L", "N", "P")), max_size=20))
def test_printable_text_is_shown_as_it_is(text):
    assert as_text(text.encode()) == text
