"""Texts by characters: fewer, longer steps; what was never seen has a number too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.data.alphabet import Alphabet
from gatework.data.corpus import load_files
from gatework.errors import InputError
from gatework.tasks.text.sampling import generate
from gatework.train import Run, RunConfig, Runner, Trainer, fit

POEM = "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n" * 40


@given(st.text(min_size=1), st.text())
def test_known_characters_come_back_and_others_are_unknown(known, text):
    alphabet = Alphabet(known)
    shown = "".join(c if c in alphabet.characters[1:] else "\ufffd" for c in text)
    assert alphabet.text(alphabet.numbers(text).tolist()) == shown
    assert Alphabet.of_data(alphabet.as_data()).characters == alphabet.characters


@pytest.mark.parametrize("share", [0.1, 0.11, 0.13, 0.5])
def test_no_character_is_cut_in_two(tmp_path, share):
    path = tmp_path / "poem"
    path.write_text(POEM, encoding="utf-8")
    corpus = load_files([path, path], share=share, characters=True)
    for part in (corpus.train, corpus.valid):
        assert "\ufffd" not in bytes(part[:].tolist()).decode()


def test_a_run_of_characters_writes_characters(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_text(POEM, encoding="utf-8")
    config = RunConfig.of(
        symbols="characters", files=(path,), hidden_size=12, batch_size=4, window=8, steps=30
    )
    trainer = Trainer.of(config)
    assert trainer.task.unit == "bits per character"
    assert trainer.source.sizes[0] + trainer.source.sizes[1] == len(POEM)
    run = Run.create(trainer, tmp_path / "run")
    assert fit([Runner(trainer, run)], lambda *_: None)
    shown = trainer.task.show(run.load_model(), trainer.source)
    assert set(shown.text) <= set(POEM) | {"\ufffd"}
    path.unlink()
    model = Run.open(run.path).load_model()
    assert len(generate(model, "床前".encode(), 9).decode()) == 9


def test_what_is_no_text_of_characters_is_told(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes("Größe über alles\n".encode("latin-1") * 20)
    with pytest.raises(InputError, match="is not UTF-8"):
        Trainer.of(RunConfig.of(symbols="characters", files=(path,)))


@pytest.mark.parametrize("data", [{}, {"alphabet": ""}, {"alphabet": 3}])
def test_a_damaged_alphabet_is_told(data):
    with pytest.raises(InputError, match="alphabet"):
        Alphabet.of_data(data)
