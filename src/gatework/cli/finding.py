"""Cells of the catalogue by what is known of them: names, documentation, authors, years, family."""

from __future__ import annotations

import difflib
import inspect
import math
import pkgutil
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from gatework import cells
from gatework.analysis.gates import named_gates
from gatework.errors import InputError, suggest
from gatework.lang import Cell
from gatework.lang.sizes import Sizes

__all__ = ["UNITS", "Entry", "find"]

UNITS = 128
"""Size for which parameters are counted."""
SHORT = 2
"""Letters of a word that is looked for as a whole: `f` is a gate, and in most words."""


@dataclass(frozen=True)
class Entry:
    """A cell of the catalogue, the short name of its family, and what is written about it."""

    cell: Cell
    family: str
    file: str

    @property
    def first_line(self) -> str:
        """What it is, in a line."""
        return self.cell.doc.strip().partition("\n")[0]

    @property
    def states(self) -> list[str]:
        """What is carried from step to step."""
        return [state.name for state in self.cell.states]

    @property
    def gates(self) -> list[str]:
        """The named values between 0 and 1 that multiply something."""
        return list(named_gates(self.cell))

    @property
    def inputs(self) -> list[str]:
        """What it reads from outside."""
        return [symbol.name for symbol in self.cell.inputs]

    @property
    def parameters(self) -> int:
        """The learned numbers of a layer of `UNITS` units, any other size being as large."""
        cell = self.cell
        plain = dict.fromkeys(("input", "hidden", *cell.size_names()), UNITS)
        sizes = Sizes.of({"1": 1, **plain, **cell.axis_lengths(UNITS, {})})
        return sum(math.prod(p.shape(sizes)) for p in cell.parameters if p.learned)

    @cached_property
    def text(self) -> str:
        """All that a word is looked for in, folded."""
        family = f"{self.family} {cells.families()[self.family].title}"
        names = [*self.states, *self.gates, *self.inputs, *self.cell.constants]
        return _folded(" ".join([self.cell.name, self.cell.doc, self.file, family, *names]))

    def has(self, word: str) -> bool:
        """Whether a word is found, a part of one if it has more than two letters."""
        word = _folded(word)
        return word in (self.text if len(word) > SHORT else self.text.split())

    def as_data(self) -> dict[str, Any]:
        """What `--json` writes."""
        return {
            "name": self.cell.name,
            "family": self.family,
            "what": self.first_line,
            "states": self.states,
            "gates": self.gates,
            "inputs": self.inputs,
            "parameters": self.parameters,
        }


def find(words: Sequence[str], family: str | None) -> list[Entry]:
    """Return the cells that have all of these words, family by family.

    Args:
        words: each a word or several, in any case, with or without accents and hyphens.
        family: the short name of the only family to look in, or None.

    Raises:
        InputError: there is no such family, or no cell has the words.

    Example:
        >>> [entry.cell.name for entry in find(["xLSTM"], None)]
        ['slstm', 'slstm_heads', 'mlstm']
    """
    within = [e for e in _entries() if family in (None, e.family)]
    if not within:
        raise _no_family(str(family))
    found = [entry for entry in within if all(map(entry.has, words))]
    if not found:
        raise _nothing(words, family, within)
    return found


def _entries() -> list[Entry]:
    listed, files = cells.catalogue(), _files()
    return [
        Entry(listed[name], key, files[name])
        for key, family in cells.families().items()
        for name in family.names
    ]


def _files() -> dict[str, str]:
    """What stands at the head of the file of each cell: the paper, its authors, its year."""
    found: dict[str, str] = {}
    for file in pkgutil.iter_modules(cells.__path__):
        module = import_module(f"{cells.__name__}.{file.name}")
        defined = re.findall(r"^def (\w+)", inspect.getsource(module), re.MULTILINE)
        found |= dict.fromkeys(defined, module.__doc__ or "")
    return found


def _folded(text: str) -> str:
    """A text without accents, hyphens, line breaks and capitals."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.split(r"[^\w.+]+|_", plain.lower()))


def _no_family(name: str) -> InputError:
    known = cells.families()
    return InputError(
        f"no family {name!r}",
        f"one of {', '.join(known)}",
        f"{suggest(name, known)}see them all with: gatework cells",
    )


def _nothing(words: Sequence[str], family: str | None, within: Sequence[Entry]) -> InputError:
    """What to say of words that no cell has, or that no cell has together."""
    missing = [word for word in words if not any(entry.has(word) for entry in within)]
    place = "" if family is None else f" of the family {family!r}"
    if not missing:
        return InputError(
            f"no cell{place} has {' and '.join(map(repr, words))} together",
            "words that one cell has",
            f"leave one out, as in: gatework cells {words[0]}",
        )
    near = _near(_folded(missing[0]), within)
    return InputError(
        f"no cell{place} with {missing[0]!r}",
        "a word of a cell's name, documentation, authors, year, states, gates or inputs",
        (f"did you mean {' or '.join(map(repr, near))}? " if near else "")
        + "see them all with: gatework cells",
    )


def _near(word: str, within: Iterable[Entry]) -> list[str]:
    """The names that are nearest to a word; if none is near, the words of the documentation."""
    within = list(within)
    names = [entry.cell.name for entry in within]
    written = Counter(w for entry in within for w in entry.text.split() if len(w) > SHORT + 1)
    for known in (names, list(written)):
        near = difflib.get_close_matches(word.replace(" ", "_"), known, n=3, cutoff=0.6)
        if near:
            return sorted(near, key=lambda other: sorted(other) != sorted(word))
    return []
