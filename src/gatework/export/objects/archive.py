"""An object file as an archive that linkers take, `NAME.a`, in the form that GNU's ar writes.

    8 bytes   "!<arch>\\n"
    member    the index of all names: how many, where the member of each begins, the names
    member    the object file

A member is a header of 60 letters and what it holds, to an even number of bytes. All times and
owners are 0, so equal objects are equal archives.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MAGIC = b"!<arch>\n"
HEADER = 60


def archive(name: str, image: bytes, symbols: Sequence[str]) -> bytes:
    """An archive of one object.

    Args:
        name: What the object is called in it, without an ending; of it 13 letters are kept.
        image: The object.
        symbols: The functions that it defines.

    Example:
        >>> archive("amp", b"code", ["amp_step"])[:8]
        b'!<arch>\\n'
    """
    names = b"".join(s.encode() + b"\0" for s in symbols)
    count = len(symbols)
    length = 4 * (1 + count) + len(names)
    begin = len(MAGIC) + HEADER + length + length % 2
    index = struct.pack(f">{1 + count}I", count, *[begin] * count) + names
    return MAGIC + _member("/", index) + _member(f"{name[:13]}.o/", image)


def _member(name: str, content: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{0o644:<8o}{len(content):<10}`\n"
    return head.encode() + content + b"\n" * (len(content) % 2)
