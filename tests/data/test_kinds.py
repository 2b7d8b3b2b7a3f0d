"""What a file seems to be is said where it is no text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from gatework.data import corpus
from gatework.data.kinds import note_on

TEXT = "Es war einmal ein König, der hatte eine Tochter.\n" * 40
PYTHON = "def f(x, y):\n    return [x, (x + 1), 3.5]\n\n" * 40
ROWS = [f"{k},{k * 0.25},-{k}e-3" for k in range(60)]


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("a.txt", TEXT)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            gzip.compress(TEXT.encode(), mtime=0),
            "packed (gzip), which hides its text; unpack it: gunzip",
        ),
        (bz2.compress(TEXT.encode()), "packed (bzip2)"),
        (lzma.compress(TEXT.encode()), "packed (xz)"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "packed (zstd)"),
        (zipped(), "packed (zip)"),
        (TEXT.encode("utf-16"), "UTF-16, and is learned better as UTF-8"),
        (TEXT.encode("utf-16-le"), "iconv -f UTF-16LE -t UTF-8 'a file'"),
        (TEXT.encode("utf-16-be"), "iconv -f UTF-16BE"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (bytes(range(256)) * 4, "looks like a binary file"),
        ("\n".join(["t,a,b", *ROWS, ""]).encode(), "a table: 3 columns of numbers"),
        ("\n".join(ROWS).replace(",", "\t").encode(), "a table: 3 columns of numbers"),
        ("\n".join(ROWS).replace(",", ";").replace(".", ",").encode(), "a table: 3 columns"),
        ("\n".join(f"2026-01-01 10:{k}:00,{k}.5" for k in range(60)).encode(), "2 columns"),
    ],
)
def test_what_is_no_text_is_told(content, told):
    assert told in note_on(Path("a file"), content)


@pytest.mark.parametrize(
    "text", [TEXT, PYTHON, "床前明月光，疑是地上霜。\n" * 40, "", "a,b\n1,2\n", "x" * 3000]
)
def test_a_text_needs_no_note(text):
    assert note_on(Path("a.txt"), text.encode()) is None


def test_no_module_that_is_learned_by_default_is_taken_for_a_table():
    for module in corpus.stdlib.TRAINING_MODULES[:60]:
        path = corpus.stdlib.module_path(module)
        assert path is None or note_on(path, path.read_bytes()) is None
