"""Texts on disk: read where they are asked for, packed or not."""

import gzip
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.data import corpus as module
from gatework.data.corpus import load_files
from gatework.data.packed import is_packed, lines_of
from gatework.data.spans import OpenFile, Span, Spans
from gatework.errors import InputError


def spans_of(folder, texts):
    parts = []
    for k, text in enumerate(texts):
        (folder / str(k)).write_bytes(b"##" + text)
        descriptor = os.open(folder / str(k), os.O_RDONLY)
        parts.append(Span(OpenFile(descriptor, str(k)), 2, len(text)))
    return Spans(parts)


@given(
    texts=st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    place=st.tuples(st.integers(-3, 70), st.integers(-3, 70)),
)
def test_stretches_of_files_are_one_text(tmp_path_factory, texts, place):
    text = spans_of(tmp_path_factory.mktemp("spans"), texts)
    whole = b"".join(texts)
    assert len(text) == len(whole)
    assert bytes(text[slice(*place)].tolist()) == whole[slice(*place)]
    assert b"".join(text.chunks()) == whole


def test_a_file_that_becomes_shorter_is_told(tmp_path):
    text = spans_of(tmp_path, [b"abcdef"])
    os.truncate(tmp_path / "0", 3)
    with pytest.raises(InputError, match="has become shorter"):
        text[0:6]


def test_a_long_text_stays_on_the_disk_and_is_the_same(tmp_path, monkeypatch):
    path = tmp_path / "text"
    path.write_bytes(bytes(range(256)) * 4)
    short = load_files([path, path])
    monkeypatch.setattr(module, "MOST_HELD", 100)
    long = load_files([path, path])
    assert isinstance(long.train, Spans)
    assert long.sha256 == short.sha256
    for one, other in ((long.train, short.train), (long.valid, short.valid)):
        assert one[:].equal(other[:])


def test_packed_files_are_read_as_what_they_hold(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    text = "def f(x): pass\n" * 40
    plain, gz, zst = (tmp_path / name for name in ("a", "a.gz", "a.zst"))
    plain.write_text(text)
    gz.write_bytes(gzip.compress(text.encode()))
    zst.write_bytes(zstandard.compress(text.encode()))
    assert [is_packed(path) for path in (plain, gz, zst)] == [False, True, True]
    assert len({load_files([path]).sha256 for path in (plain, gz, zst)}) == 1
    assert ["".join(lines_of(path)) for path in (plain, gz, zst)] == [text] * 3


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_a_damaged_packed_file_is_told(tmp_path, name):
    zstandard = pytest.importorskip("zstandard")
    pack = gzip.compress if name.endswith("gz") else zstandard.compress
    content = pack(bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)))
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be unpacked"):
        load_files([tmp_path / name])


def test_files_may_be_held_out(tmp_path):
    (tmp_path / "a").write_bytes(b"learned" * 9)
    (tmp_path / "b").write_bytes(b"judged" * 9)
    loaded = load_files([tmp_path / "a"], [tmp_path / "b"])
    assert bytes(loaded.train[:].tolist()) == b"learned" * 9
    assert bytes(loaded.valid[:].tolist()) == b"judged" * 9
