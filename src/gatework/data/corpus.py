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
from pathlib import Path
from typing import TYPE_CHECKING

from gatework.data import stdlib
from gatework.data.kinds import note_on
from gatework.errors import InputError, explained
from gatework.files import open_regular, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "HELD_OUT_SHARE",
    "Corpus",
    "check_files",
    "load_corpus",
    "load_files",
    "load_stdlib",
]

HELD_OUT_SHARE = 0.1
"""The last part of each of the user's files that is kept back for validation."""
MOST_BYTES = 1 << 33
"""Of a file, unless a quarter of this machine's memory is less."""
EXPECTED = "a file with text (any bytes will do)"
NAMED = 3
"""Files whose names a corpus of many has in its own."""


@dataclass(frozen=True)
class Corpus:
    """A text of bytes: any file will do, since every file is a sequence of bytes.

    Attributes:
        name: what the text is, in a few words.
        train: uint8 [number of bytes], to learn from.
        valid: uint8 [number of bytes], held out.
        sha256: checksum of `train` followed by `valid`.
        notes: what a reader should know, such as modules that this machine lacks.
    """

    name: str
    train: Tensor
    valid: Tensor
    sha256: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, train: bytes, valid: bytes, notes: Iterable[str] = ()) -> Corpus:
        """Make a corpus of bytes in memory."""
        checksum = hashlib.sha256(train + valid).hexdigest()
        return cls(name, _as_tensor(train), _as_tensor(valid), checksum, tuple(notes))


def load_corpus(files: Sequence[Path]) -> Corpus:
    """Load the given files, or the standard library's source where none is given."""
    return load_files(files) if files else load_stdlib()


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


def load_files(files: Sequence[Path]) -> Corpus:
    """Load files byte by byte, in the order given; the last tenth of each is held out.

    Raises:
        InputError: a file is missing, is no file, cannot be read, or is empty.
    """
    texts = [_read(path) for path in files]
    cuts = [max(0, len(text) - max(2, int(len(text) * HELD_OUT_SHARE))) for text in texts]
    train = b"".join(text[:cut] for text, cut in zip(texts, cuts, strict=True))
    valid = b"".join(text[cut:] for text, cut in zip(texts, cuts, strict=True))
    notes = [note for path, text in zip(files, texts, strict=True) if (note := note_on(path, text))]
    name = ", ".join(path.name for path in files[:NAMED])
    more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
    return Corpus.of(name + more, train, valid, notes)


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


def _read(path: Path) -> bytes:
    """Read one file, or say what is wrong with it."""
    with _explained(path):
        text = read_bytes(path, _most_bytes())
    _check_size(path, len(text))
    return text


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


def _most_bytes() -> int:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # this system does not say
        return MOST_BYTES
    return min(MOST_BYTES, memory // 4) if memory > 0 else MOST_BYTES


def _read_modules(modules: Sequence[str]) -> tuple[bytes, list[str]]:
    """Join the sources of the modules; also return the names of those that are missing."""
    paths = {module: stdlib.module_path(module) for module in modules}
    source = b"".join(path.read_bytes() for path in paths.values() if path)
    return source, [module for module, path in paths.items() if path is None]


def _as_tensor(text: bytes) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
