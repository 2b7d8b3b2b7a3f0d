"""What a file seems to be, told to one who gives it as a text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shlex import quote

__all__ = ["note_on"]

PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip --keep"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"\xfd7zXZ\0": ("xz", "unxz --keep"),
    b"BZh91AY&SY": ("bzip2", "bunzip2 --keep"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf\x27\x1c": ("7z", "7z x"),
}
"""How packed files begin: what they are, and the command that unpacks one."""
WIDE = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""How a text of two or four bytes a character begins."""
SAMPLE, FEWEST_LINES = 1 << 16, 5
"""Bytes that are looked at, and lines that make a table."""
NUMBERS = 0.5
"""Share of cells that are numbers above which a table is one of numbers."""


def note_on(path: Path, text: bytes) -> str | None:
    """Say what a reader should know of a file that is learned byte by byte, None for a text.

    Example:
        >>> note_on(Path("a.gz"), b"\\x1f\\x8b\\x08")
        'a.gz is packed (gzip), which hides its text; unpack it: gunzip --keep a.gz'
    """
    for start, (kind, command) in PACKED.items():
        if text.startswith(start):
            unpack = f"{command} {quote(str(path))}"
            return f"{path} is packed ({kind}), which hides its text; unpack it: {unpack}"
    if coding := _wide(text[:SAMPLE]):
        convert = f"iconv -f {coding} -t UTF-8 {quote(str(path))} > {quote(f'utf8-{path.name}')}"
        return f"{path} is {coding}, and is learned better as UTF-8; convert it: {convert}"
    if b"\0" in text:
        return f"{path} looks like a binary file; its bytes are learned as they are"
    if columns := _columns(text[:SAMPLE]):
        return f"{path} looks like a table: {columns} columns of numbers; as text it teaches digits"
    return None


def _wide(text: bytes) -> str | None:
    for mark, coding in WIDE.items():
        if text.startswith(mark):
            return coding
    if len(text) < 16:
        return None
    zeros = [text[k::2].count(0) / len(text[k::2]) for k in (0, 1)]
    if max(zeros) > 0.7 and min(zeros) < 0.1:  # Latin letters, the other byte of which is zero
        return "UTF-16LE" if zeros[1] > zeros[0] else "UTF-16BE"
    return None


def _columns(text: bytes) -> int:
    """How many columns a table of numbers has, 0 where the text is none."""
    lines = [line for line in text.split(b"\n")[:-1] if line.strip()]
    if len(lines) < FEWEST_LINES:
        return 0
    for separator in (b"\t", b";", b",", b" "):
        counts = Counter(len(line.strip().split(separator)) for line in lines)
        columns, often = counts.most_common(1)[0]
        if columns > 1 and often >= 0.9 * len(lines) and _mostly_numbers(lines[1:], separator):
            return columns
    return 0


def _mostly_numbers(lines: list[bytes], separator: bytes) -> bool:
    cells = [cell for line in lines for cell in line.split(separator) if cell.strip()]
    return sum(map(_is_number, cells)) >= NUMBERS * len(cells)


def _is_number(cell: bytes) -> bool:
    """Whether a cell is a number, a date or a time: most of it is digits."""
    return 2 * sum(48 <= byte <= 57 for byte in cell) >= len(cell.strip(b' "'))
