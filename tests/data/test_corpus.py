"""Texts are read as they are, held out in part, and refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework import files
from gatework.data import Corpus, load_corpus, load_files, load_stdlib, stdlib
from gatework.errors import InputError


def text_of(part) -> bytes:
    return bytes(part.tolist())


def test_the_default_text_is_the_standard_library():
    default = load_corpus([])
    assert len(default.train) > 3_000_000
    assert b"class ArgumentParser" in text_of(default.train)
    assert default.sha256 == load_stdlib().sha256


def test_no_module_is_both_learned_and_held_out():
    modules = stdlib.TRAINING_MODULES + stdlib.HELD_OUT_MODULES
    assert len(set(modules)) == len(modules)


def test_missing_modules_are_reported(monkeypatch):
    monkeypatch.setattr(stdlib, "TRAINING_MODULES", ("argparse", "no_such_module"))
    loaded = load_stdlib()
    assert text_of(loaded.train) == stdlib.module_path("argparse").read_bytes()
    assert loaded.notes == ("not on this Python: no_such_module",)


def test_a_python_without_sources_is_an_error(monkeypatch):
    monkeypatch.setattr(stdlib, "module_path", lambda module: None)
    with pytest.raises(InputError, match="no source files"):
        load_stdlib()


def test_a_package_is_found_by_its_init_file():
    assert stdlib.module_path("json").name == "__init__.py"
    assert stdlib.module_path("json.decoder").name == "decoder.py"
    assert stdlib.module_path("no.such.module") is None


@given(texts=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4))
def test_every_byte_of_every_file_is_in_one_part(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("texts")
    paths = [folder / str(i) for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    loaded = load_files(paths)
    train, valid = text_of(loaded.train), text_of(loaded.valid)
    for text in texts:
        held_out = min(len(text), max(2, len(text) // 10))
        learned, train = train[: len(text) - held_out], train[len(text) - held_out :]
        kept, valid = valid[:held_out], valid[held_out:]
        assert learned + kept == text
    assert train == valid == b""


def test_the_checksum_is_that_of_the_text():
    same, other = Corpus.of("a", b"xyz", b"12"), Corpus.of("b", b"xyz", b"13")
    assert Corpus.of("c", b"xyz", b"12").sha256 == same.sha256 != other.sha256


def test_a_binary_file_is_learned_as_it_is_and_noted(tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(bytes(range(256)) * 4)
    loaded = load_files([path])
    assert text_of(loaded.train) + text_of(loaded.valid) == bytes(range(256)) * 4
    assert "binary" in loaded.notes[0]


def an_empty_file(folder: Path) -> Path:
    (folder / "empty").touch()
    return folder / "empty"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "no such file"),
        (lambda folder: folder, "is a directory"),
        (an_empty_file, "is empty"),
        (lambda folder: an_empty_file(folder) / "below", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, make, message):
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_files([path])
    assert str(path) in caught.value.came


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text("text")

    def refuse(name, flags):
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        load_files([path])
