"""What may be shown: text from a file, made harmless for a terminal and a page."""

from __future__ import annotations

import re
import reprlib
import unicodedata
import zlib
from typing import Any

__all__ = ["brief", "identifier", "printable"]

JOINERS = "\u200c\u200d"
"""Format characters that Persian, Hindi and emoji are written with; alone they do nothing."""
MOST_CHARACTERS = 80


def printable(text: str) -> str:
    """Return a text with its control characters written out, as `repr` writes them.

    An escape sequence would be obeyed by a terminal, and a bidirectional override turns what stands
    around it, so a file's name or content must never reach either as it is. Line feeds and
    tabulators stay.

    Example:
        >>> print(printable("a\\x1b]0;b\\x07 \\u202ec"))
        a\\x1b]0;b\\x07 \\u202ec
    """
    if text.isprintable():  # the usual case, looked at in one go
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if character.isprintable() or character in "\n\t" or character in JOINERS or kind == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")


def identifier(name: str) -> str:
    """Return a name that may stand in an id of a page, another one for every other name.

    Example:
        >>> identifier("gru-2"), identifier('"><b>')
        ('gru-2', '___b_-d60c0c91')
    """
    kept = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return kept if kept == name else f"{kept}-{zlib.crc32(name.encode('utf-8', 'replace')):x}"


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = MOST_CHARACTERS
        self.maxlong = MOST_CHARACTERS // 2

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 4 * MOST_CHARACTERS:  # Python refuses to write very long ones
            return f"a number of {x.bit_length():,} bits"
        return super().repr_int(x, level)


_BRIEF = _Brief()


def brief(value: Any) -> str:
    """Return the `repr` of anything, cut short: a value from a file can be of any size.

    Example:
        >>> brief(3.5)
        '3.5'
        >>> len(brief("x" * 1_000_000))
        80
    """
    return _BRIEF.repr(value)
