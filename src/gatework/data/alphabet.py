"""Characters as numbers: the alphabet of a text."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.corpus import Corpus, held
from gatework.data.spans import CHUNK, OpenFile, Span, Spans, Symbols
from gatework.errors import InputError

__all__ = ["Alphabet"]

UNKNOWN = "\ufffd"
"""Stands for every character that the text to learn from does not have."""
MOST = 1 << 16
"""Characters of an alphabet: a number of two bytes for each."""


class Alphabet:
    """The characters of a text, in the order of their numbers; the first stands for all others.

    Example:
        >>> alphabet = Alphabet("abc")
        >>> alphabet.numbers("cab!").tolist()
        [3, 1, 2, 0]
        >>> alphabet.text([3, 1, 2])
        'cab'
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = UNKNOWN + "".join(sorted(set(characters) - {UNKNOWN}))
        codes = np.array([ord(c) for c in self.characters[1:]], dtype=np.int64)
        self._codes = codes  # sorted

    def __len__(self) -> int:
        return len(self.characters)

    @classmethod
    def of(cls, corpus: Corpus) -> Alphabet:
        """Return the alphabet of what is learned from.

        Raises:
            InputError: the text is not UTF-8, or has very many characters.
        """
        found: set[str] = set()
        for text in _decoded(corpus.name, corpus.train):
            found.update(text)
        if len(found) >= MOST:
            raise InputError(
                f"{len(found):,} different characters in {corpus.name}",
                f"fewer than {MOST:,}",
                "learn bytes: leave out --symbols characters",
            )
        return cls(found)

    def as_data(self) -> dict[str, str]:
        """Return it as JSON data."""
        return {"alphabet": self.characters[1:]}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Alphabet:
        """Return what `as_data` wrote down.

        Raises:
            InputError: it is none.
        """
        characters = data.get("alphabet")
        if not isinstance(characters, str) or not 0 < len(set(characters)) < MOST:
            raise InputError(
                "a run without the alphabet of its text",
                "the characters, as the run wrote them down",
                "restore its config.yaml, or train again",
            )
        return cls(characters)

    def numbers(self, text: str) -> NDArray[np.uint16]:
        """Return the numbers of a text's characters."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        places = np.searchsorted(self._codes, codes)
        at = np.minimum(places, len(self._codes) - 1)
        return np.where(self._codes[at] == codes, at + 1, 0).astype(np.uint16)

    def text(self, numbers: Iterable[int]) -> str:
        """Return the characters of some numbers."""
        return "".join(self.characters[number] for number in numbers)

    def encoded(self, corpus: Corpus) -> Corpus:
        """Return a corpus of bytes as one of these characters.

        Raises:
            InputError: the text is not UTF-8.
        """
        parts = {part: self._encoded(corpus, part) for part in ("train", "valid")}
        return replace(corpus, **parts)  # type: ignore[arg-type]

    def _encoded(self, corpus: Corpus, part: str) -> Symbols:
        with TemporaryFile() as file:
            count = 0
            for text in _decoded(corpus.name, getattr(corpus, part)):
                numbers = self.numbers(text)
                file.write(numbers.tobytes())
                count += len(numbers)
            file.flush()
            whole = Span(OpenFile(os.dup(file.fileno()), corpus.name), 0, count)
            return held(Spans([whole], np.dtype(np.uint16)))


def _decoded(name: str, text: Symbols) -> Iterator[str]:
    """The characters of bytes, some at a time; the cut between parts may divide one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for first in range(0, len(text), CHUNK):
            piece = text[first : first + CHUNK].numpy().tobytes()
            yield decoder.decode(piece, final=first + CHUNK >= len(text))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8 ({error.reason})",
            "a text of characters",
            "convert it with iconv -t UTF-8, or learn its bytes: leave out --symbols characters",
        ) from None
