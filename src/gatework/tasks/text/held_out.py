"""The held-out part of a text, symbol by symbol."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from gatework.data import Character, Corpus, characters_of
from gatework.data.alphabet import Alphabet
from gatework.data.characters import label_of_next, unfinished
from gatework.lens.properties import TEXT_PROPERTIES, Property, inside_quotes
from gatework.tasks.held_out import Judged, Place, Stretch, Track
from gatework.tasks.said import Symbol, Symbols

__all__ = ["HeldOutText"]

LABELLED = 1 << 18
"""Symbols from the beginning whose properties are found at once, since they hang on what stands
before."""
LOOKED_AT = 1 << 22
"""Symbols among which a passage is looked for."""
CONTEXT, READ_BEFORE = 128, 48
"""Symbols before a step that are looked at to know its character; bytes that are told with it."""
MOST_BEGUN = 4
"""Characters that are named where a byte only begins one."""
AROUND = 64
"""Symbols around a place that tell which characters its first and last bytes belong to."""

Letters: TypeAlias = tuple[tuple[bytes, str], ...]
"""Characters and their bytes."""


class HeldOutText(Judged):
    """One sequence: the text.

    Args:
        corpus: as the task has read it.
        alphabet: of its characters; None where symbols are bytes.
        letters: known `letters`; None to look for them.
    """

    ahead = 1

    def __init__(
        self, corpus: Corpus, alphabet: Alphabet | None, letters: Letters | None = None
    ) -> None:
        self.lengths = np.array([len(corpus.valid)])
        self.step = "byte" if alphabet is None else "character"
        self._corpus, self._alphabet, self._letters = corpus, alphabet, letters
        self._labels: dict[str, NDArray[np.float32]] = {}

    def read(self, place: Place) -> Stretch:
        """Return the numbers of symbols."""
        symbols: torch.Tensor = self._corpus.valid[place.first : place.last]
        return Stretch(symbols.long().unsqueeze(1))

    def track(self, place: Place) -> Track:
        """Return the characters: over bytes as wide as they are, else each alone."""
        if self._alphabet is not None:
            return Track(tuple(Character(c, k, 1) for k, c in enumerate(self._spelled(place))))
        begin = max(0, place.first - AROUND)
        text = self.text(Place(0, begin, place.last + AROUND))
        return Track(characters_of(text, place.first - begin, place.last - begin))

    def text(self, place: Place) -> bytes:
        """Return symbols as bytes."""
        if self._alphabet is not None:
            return self._spelled(place).encode("utf-8", "surrogateescape")
        return bytes(self._corpus.valid[place.first : place.last].tolist())

    def _spelled(self, place: Place) -> str:
        assert self._alphabet is not None
        return self._alphabet.text(self._corpus.valid[place.first : place.last].tolist())

    def name(self, sequence: int) -> str:
        """Return nothing: a text is one."""
        return ""

    def costs(self, predictions: Tensor, place: Place) -> NDArray[np.float32]:
        """Return bits of each symbol that comes next."""
        coming = self.read(place._replace(first=place.first + 1, last=place.last + 1)).inputs[:, 0]
        costs = np.full(len(predictions), np.nan, np.float32)
        scores = predictions[: len(coming), 0]
        costs[: len(coming)] = cross_entropy(scores, coming, reduction="none") / math.log(2)
        return costs

    def said(self, prediction: Tensor, sequence: int, step: int, count: int) -> Symbols:
        """Return the likeliest next symbols, and the one that comes."""
        chances = prediction[0].double().softmax(-1)
        before = self.text(Place(0, max(0, step + 1 - CONTEXT), step + 1))
        following = self._corpus.valid[step + 1 : step + 2].tolist()
        best = chances.topk(min(count, len(chances))).indices.tolist()
        read = characters_of(before, max(0, len(before) - READ_BEFORE))
        return Symbols(
            "".join(c.label for c in read),
            tuple(self._after(before, symbol, chances) for symbol in best),
            self._after(before, following[0], chances) if following else None,
        )

    def _after(self, before: bytes, symbol: int, chances: Tensor) -> Symbol:
        """A symbol that may come after a text."""
        chance = round(float(chances[symbol]), 5)
        if self._alphabet is not None:
            label = Character(self._alphabet.text([symbol]), 0, 1).label
            return Symbol(symbol, label, "", chance)
        begun = unfinished(before + bytes([symbol]))
        within = (c for code, c in self.letters if begun and code.startswith(begun))
        begins = "".join(islice(within, MOST_BEGUN))
        return Symbol(symbol, label_of_next(before, symbol), begins, chance)

    @cached_property
    def letters(self) -> Letters:
        """The characters of more than a byte, the most frequent first."""
        if self._letters is not None:
            return self._letters
        text = self.text(Place(0, 0, LOOKED_AT)).decode("utf-8", "ignore")
        counts = Counter(c for c in text if not c.isascii())
        return tuple((c.encode(), c) for c, _ in counts.most_common())

    def typed(self, text: str) -> HeldOutText:
        """Return another text, which is read as this one is.

        Raises:
            UnicodeEncodeError: it has half a character.
        """
        corpus = replace(self._corpus, valid=torch.tensor(list(text.encode()), dtype=torch.uint8))
        if self._alphabet is not None:
            corpus = replace(self._corpus, valid=torch.from_numpy(self._alphabet.numbers(text)))
        return HeldOutText(corpus, self._alphabet, self.letters)

    def properties(self, place: Place) -> Mapping[str, NDArray[np.float32]]:
        """Return what is true after each symbol: brackets, quotations, the place in its line."""
        known = next(iter(self._labels.values()), ())
        if len(known) < place.last:
            self._labels = self._labelled(Place(0, 0, max(place.last, LABELLED)))
        return {name: label[place.first : place.last] for name, label in self._labels.items()}

    def _labelled(self, place: Place) -> dict[str, NDArray[np.float32]]:
        text = self.text(place)
        found = {name: of(text) for name, of in self._kinds().items()}
        if self._alphabet is None:
            return found
        widths = [len(c.encode("utf-8", "surrogateescape")) for c in self._spelled(place)]
        ends = np.cumsum(widths, dtype=np.int64) - 1
        return {name: label[ends] for name, label in found.items()}

    def _kinds(self) -> Mapping[str, Property]:
        """What to look for: strings of source code, or quotations of prose."""
        if ".py" in self._corpus.name or "Python" in self._corpus.name:
            return TEXT_PROPERTIES
        others = {n: p for n, p in TEXT_PROPERTIES.items() if n != "inside a string"}
        return {"inside quotes": inside_quotes, **others}

    def passage(self, steps: int) -> Place:
        """Return where a definition begins near the middle, else a line, else the middle."""
        length = min(int(self.lengths[0]), LOOKED_AT)
        middle, last = length // 2, max(0, length - steps)
        text = self._searched(middle, last)
        for sign in ("\n    def ", "\n"):
            if (found := text.find(sign)) >= 0:
                first = middle + found + 1
                return Place(0, first, first + steps)
        first = min(middle, last)
        return Place(0, first, min(length, first + steps))

    def _searched(self, first: int, last: int) -> str:
        """Symbols as a text of as many letters."""
        place = Place(0, first, max(first, last))
        if self._alphabet is not None:
            return self._spelled(place)
        return self.text(place).decode("latin-1")
