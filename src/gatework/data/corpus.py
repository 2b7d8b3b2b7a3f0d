"""A text as bytes, divided into what is learned from and what is kept back to judge by.

Nothing here needs torch until a text is whole, so that a file that is missing is told at once.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from gatework.data import stdlib
from gatework.data.kinds import note_on
from gatework.data.packed import is_packed, unpacked
from gatework.data.spans import OpenFile, Span, Spans, Symbols
from gatework.errors import InputError, explained
from gatework.files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "HELD_OUT_SHARE",
    "Corpus",
    "check_files",
    "held",
    "load_corpus",
    "load_files",
    "load_stdlib",
]

HELD_OUT_SHARE = 0.1
"""The last part of each of the user's files that is kept back for validation."""
MOST_HELD = 1 << 26
"""Bytes of a text that is held in memory; a longer one is read from the disk as it is learned."""
LOOKED_AT = 1 << 16
"""Bytes of a file by which is judged what it is."""
LONGEST = 4
"""Bytes of a character in UTF-8, at most."""
EXPECTED = "a file with text (any bytes will do)"
NAMED = 3
"""Files whose names a corpus of many has in its own."""


@dataclass(frozen=True)
class Corpus:
    """A text of bytes: any file will do, since every file is a sequence of bytes.

    Attributes:
        name: what the text is, in a few words.
        train: numbers of the symbols to learn from: uint8 [number of bytes], a tensor or, of a
            long text, what is read from the disk where it is needed.
        valid: the same, held out.
        sha256: checksum of the bytes of `train` followed by those of `valid`.
        notes: what a reader should know, such as modules that this machine lacks.
    """

    name: str
    train: Symbols
    valid: Symbols
    sha256: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, train: bytes, valid: bytes, notes: Iterable[str] = ()) -> Corpus:
        """Make a corpus of bytes in memory."""
        checksum = hashlib.sha256(train + valid).hexdigest()
        return cls(name, _as_tensor(train), _as_tensor(valid), checksum, tuple(notes))

    @property
    def sizes(self) -> tuple[int, int]:
        """How much there is to learn from, and how much is held out."""
        return len(self.train), len(self.valid)


def load_corpus(
    files: Sequence[Path],
    held_out: Sequence[Path] = (),
    share: float = HELD_OUT_SHARE,
    *,
    characters: bool = False,
) -> Corpus:
    """Load the given files, or the standard library's source where none is given.

    Raises:
        InputError: as `load_files`; or files are held out where none is learned from.
    """
    if files:
        return load_files(files, held_out, share, characters=characters)
    if held_out:
        raise InputError(
            f"--held-out {held_out[0]} without a text to learn from",
            "files to learn from beside it",
            "name them first: gatework train FILE --held-out FILE",
        )
    return load_stdlib()


def load_stdlib() -> Corpus:
    """Load the source of a fixed list of standard-library modules.

    Raises:
        InputError: this Python was installed without its library's source.
    """
    train, missing = _read_modules(stdlib.TRAINING_MODULES)
    valid, missing_held_out = _read_modules(stdlib.HELD_OUT_MODULES)
    if not train or not valid:
        raise InputError(
            "this Python has no source files of its standard library",
            "library modules as .py files beside the interpreter",
            "name a file of your own: gatework train FILE",
        )
    missing += missing_held_out
    notes = [f"not on this Python: {', '.join(missing)}"] if missing else []
    name = f"source of the Python {platform.python_version()} standard library"
    return Corpus.of(name, train, valid, notes)


def load_files(
    files: Sequence[Path],
    held_out: Sequence[Path] = (),
    share: float = HELD_OUT_SHARE,
    *,
    characters: bool = False,
) -> Corpus:
    """Load files byte by byte, in the order given; packed ones (gzip, zstd) as what they hold.

    Args:
        files: to learn from.
        held_out: to judge by; without any, the last part of each of `files` is held out.
        share: that part.
        characters: cut between characters, not within one.

    Raises:
        InputError: a file is missing, is no file, cannot be read, or is empty.
    """
    whole = [_opened(path) for path in files]
    judged = [_opened(path) for path in held_out]
    cuts = [_cut(span, share, characters) for span in whole]
    train = Spans([Span(s.file, 0, s.symbols if judged else c) for s, c in _pairs(whole, cuts)])
    valid = Spans(judged or [Span(s.file, c, s.symbols - c) for s, c in _pairs(whole, cuts)])
    named = zip([*files, *held_out], [*whole, *judged], strict=True)
    notes = [note for path, span in named if (note := note_on(path, _beginning(span)))]
    name = ", ".join(path.name for path in files[:NAMED])
    more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
    checksum = hashlib.sha256()
    for piece in chain(train.chunks(), valid.chunks()):
        checksum.update(piece)
    return Corpus(name + more, held(train), held(valid), checksum.hexdigest(), tuple(notes))


def held(text: Spans) -> Symbols:
    """Return a short text as a tensor in memory, a long one as it is."""
    return text[:] if len(text) * text.dtype.itemsize <= MOST_HELD else text


def check_files(files: Sequence[Path]) -> None:
    """Check that files can be opened and hold something, without reading them.

    Raises:
        InputError: a file is missing, is no file, cannot be read, or is empty.
    """
    for path in files:
        with _explained(path):
            descriptor = open_regular(path)
            size = os.fstat(descriptor).st_size
            os.close(descriptor)
        _check_size(path, size)


def _opened(path: Path) -> Span:
    """Open one file, or say what is wrong with it."""
    with _explained(path):
        descriptor = open_regular(path)
        if is_packed(path):
            os.close(descriptor)
            descriptor = unpacked(path)
        size = os.fstat(descriptor).st_size
    span = Span(OpenFile(descriptor, str(path)), 0, size)
    _check_size(path, size)
    return span


def _pairs(spans: Sequence[Span], cuts: Sequence[int]) -> list[tuple[Span, int]]:
    return list(zip(spans, cuts, strict=True))


def _cut(span: Span, share: float, characters: bool) -> int:
    """Where the part of a file begins that is held out: two bytes of it at least."""
    cut = max(0, span.symbols - max(2, int(span.symbols * share)))
    if not characters:
        return cut
    around = Spans([span]).read(cut, cut + LONGEST)
    return cut + next((k for k, byte in enumerate(around) if byte & 0xC0 != 0x80), 0)


def _beginning(span: Span) -> bytes:
    return Spans([span]).read(0, LOOKED_AT)


def _check_size(path: Path, size: int) -> None:
    if not size:
        raise InputError(f"{str(path)!r} is empty", EXPECTED, "name a file with content")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file into what a user can mend."""
    if path.is_dir():
        mend = f"name the files in it, for example {path}/*.txt"
        raise InputError(f"{str(path)!r} is a directory", EXPECTED, mend)
    try:
        with explained(path, EXPECTED):
            yield
    except MemoryError:
        came = f"{str(path)!r} does not fit into memory"
        raise InputError(came, EXPECTED, "give a part of it") from None


def _read_modules(modules: Sequence[str]) -> tuple[bytes, list[str]]:
    """Join the sources of the modules; also return the names of those that are missing."""
    paths = {module: stdlib.module_path(module) for module in modules}
    source = b"".join(path.read_bytes() for path in paths.values() if path)
    return source, [module for module, path in paths.items() if path is None]


def _as_tensor(text: bytes) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
