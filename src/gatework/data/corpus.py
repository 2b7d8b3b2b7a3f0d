"""A text as bytes, divided into what is learned from and what is kept back to judge by."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gatework.data import stdlib
from gatework.data.errors import InputError

__all__ = ["HELD_OUT_SHARE", "Corpus", "load_corpus", "load_files", "load_stdlib"]

HELD_OUT_SHARE = 0.1
"""The last part of each of the user's files that is kept back for validation."""


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
    notes = [
        f"{path} looks like a binary file; its bytes are learned as they are"
        for path, text in zip(files, texts, strict=True)
        if b"\0" in text
    ]
    return Corpus.of(", ".join(path.name for path in files), train, valid, notes)


def _read(path: Path) -> bytes:
    """Read one file, or say what is wrong with it."""
    expected = "a file with text (any bytes will do)"
    if path.is_dir():
        mend = f"name the files in it, for example {path}/*.txt"
        raise InputError(f"{str(path)!r} is a directory", expected, mend)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        mend = "check the spelling and the current directory"
        raise InputError(f"no such file: {str(path)!r}", expected, mend) from None
    except OSError as error:
        came = f"{str(path)!r} cannot be read ({error.strerror})"
        raise InputError(came, expected, "check the path and its permissions") from None
    if not text:
        raise InputError(f"{str(path)!r} is empty", expected, "name a file with content")
    return text


def _read_modules(modules: Sequence[str]) -> tuple[bytes, list[str]]:
    """Join the sources of the modules; also return the names of those that are missing."""
    paths = {module: stdlib.module_path(module) for module in modules}
    source = b"".join(path.read_bytes() for path in paths.values() if path)
    return source, [module for module, path in paths.items() if path is None]


def _as_tensor(text: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
