"""Bytes as the characters that people read: what stands over which bytes of a text.

A model of bytes reads 大 as three bytes and é as two. Pictures, pages and the studio label the
bytes of a text with what is made here: each character over the width of its bytes. A character is
what a reader takes for one: a letter with its marks, an emoji that is joined of several. A byte
that belongs to no character, as in a file that is not UTF-8, stands as its digits, such as E5.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Character", "characters_of", "label_of_next", "readable", "unfinished"]

CONTEXT = 64
"""Bytes around a window that are looked at: more than a joined emoji of a whole family has."""
SIGNS = {"\n": "↵", "\t": "→"}
"""How white space that is no space is shown."""
JOINER, NON_JOINER = "\u200d", "\u200c"
TURNERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn round the order of what follows, past the end of the text."""


@dataclass(frozen=True)
class Character:
    """A character over the bytes of a window.

    Attributes:
        text: as it stands in the text; a byte that is no part of a character as Python's
            "surrogateescape" has it.
        first: its first byte in the window.
        width: how many bytes of the window it takes; fewer than it has where the window cuts it.
    """

    text: str
    first: int
    width: int

    @property
    def label(self) -> str:
        """It as a sign that can be seen: · for a space, ↵ for a line's end, E5 for a byte."""
        return _label(self.text)

    @property
    def leftward(self) -> bool:
        """Whether it belongs to a script that is written from right to left."""
        return unicodedata.bidirectional(self.text[0]) in ("R", "AL")


def characters_of(text: bytes, first: int = 0, last: int | None = None) -> tuple[Character, ...]:
    """Return the characters over a window of a text, in order; their widths add up to its length.

    Args:
        text: all that is known of the text, so that a window may begin inside a character.
        first: the window's first byte.
        last: the byte after its last; None for the end of the text.

    Example:
        >>> [(c.label, c.width) for c in characters_of("a 大é".encode())]
        [('a', 1), ('·', 1), ('大', 3), ('é', 2)]
        >>> [(c.label, c.width) for c in characters_of("a 大é".encode(), 3, 6)]
        [('大', 2), ('é', 1)]
        >>> [(c.label, c.width) for c in characters_of("大".encode()[:2])]
        [('E5', 1), ('A4', 1)]
    """
    last = len(text) if last is None else min(last, len(text))
    begin = max(0, first - CONTEXT)
    known = text[begin : last + CONTEXT].decode("utf-8", "surrogateescape")
    found, place = [], begin - first
    for character in _joined(known):
        end = place + len(character.encode("utf-8", "surrogateescape"))
        start, stop = max(0, place), min(end, last - first)
        if start < stop:
            found.append(Character(character, start, stop - start))
        place = end
    return tuple(found)


def unfinished(text: bytes) -> bytes:
    """Return the bytes of a character that has begun at the end of a text and may still go on.

    Example:
        >>> unfinished("好大".encode()[:-1])
        b'\\xe5\\xa4'
        >>> unfinished(b"abc")
        b''
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    decoder.decode(text[-3:])
    return decoder.getstate()[0]


def label_of_next(before: bytes, byte: int) -> str:
    """Return what a byte is after a text: the character that it ends, or its two digits.

    Args:
        before: the text up to the byte; its last three bytes are enough.
        byte: the byte that comes.

    Example:
        >>> label_of_next(b"a", ord("b")), label_of_next(b"\\xe5\\xa4", 0xA7)
        ('b', '大')
        >>> label_of_next(b"a", 0xE5)
        'E5'
    """
    whole = (unfinished(before) + bytes([byte])).decode("utf-8", "surrogateescape")
    return _label(whole[-1])


def readable(pieces: Iterable[bytes]) -> Iterator[str]:
    """Decode a text as it comes, for a terminal or a page; half a character at its end is left out.

    UTF-8; a byte that is no part of a character becomes �. So does a control character that is no
    tab or line end, so that no text can steer a terminal.

    Example:
        >>> list(readable([b"\\xe5", b"\\xa4\\xa7 ", b"\\x1b[1m\\xe5"]))
        ['', '大 ', '�[1m']
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held = ""  # a carriage return, which is part of the line's end if a line feed comes
    for piece in pieces:
        text = held + decoder.decode(piece)
        held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n")
        yield "".join(c if c in "\n\t" else _harmless(c) for c in text)


def _joined(text: str) -> Iterator[str]:
    """Divide a text into what is read as one character each.

    Marks and joiners go with what they change, joined emoji and the two letters of a flag stay
    together: of Unicode's rules for grapheme clusters (UAX 29) those that common texts need.
    """
    cluster = ""
    for c in text:
        if cluster and _goes_on(cluster, c):
            cluster += c
        else:
            if cluster:
                yield cluster
            cluster = c
    if cluster:
        yield cluster


def _goes_on(cluster: str, c: str) -> bool:
    """Whether a code point is one more of the character before."""
    if c.isascii() or unicodedata.category(cluster[0])[0] in "CZ":
        return False
    if unicodedata.category(c)[0] == "M" or c in (JOINER, NON_JOINER):
        return True
    if "\U0001f3fb" <= c <= "\U0001f3ff" or "\U000e0020" <= c <= "\U000e007f":  # skin, flags' tags
        return unicodedata.category(cluster[0]) == "So"
    if "\U0001f1e6" <= c <= "\U0001f1ff":  # a flag is two letters
        return len(cluster) == 1 and "\U0001f1e6" <= cluster <= "\U0001f1ff"
    return cluster[-1] == JOINER and unicodedata.category(c) == "So"


def _label(character: str) -> str:
    """A sign for a character, or for a byte that belongs to none."""
    c = character[0]
    if character in SIGNS:
        return SIGNS[character]
    if "\udc80" <= c <= "\udcff":
        return f"{ord(c) - 0xDC00:02X}"
    category = unicodedata.category(c)
    if category[0] == "Z":
        return "·" if category == "Zs" else "↵"
    if category[0] == "M" and not unicodedata.name(c, "").startswith("VARIATION SELECTOR"):
        return "◌" + character
    if category[0] in "CM":  # what cannot be seen
        return f"{ord(c):02X}" if c.isascii() else f"U+{ord(c):04X}"
    return character


def _harmless(c: str) -> str:
    """A character as it may be printed: none that controls a terminal or turns a line round."""
    return "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in TURNERS else c
