"""Properties of every place of a text, for which units may be found that track them.

A property is a function from bytes to one number per byte: what is true after the byte was read.

n  bytes of a text      T  time steps      B  streams read side by side
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.lens.arguments import check_whole

__all__ = [
    "TEXT_PROPERTIES",
    "Property",
    "bracket_depth",
    "indentation",
    "inside_quotes",
    "inside_string",
    "label_text",
    "position_in_line",
]

Property = Callable[[bytes], NDArray[np.float32]]
"""One number for each byte of a text; 0 and 1 where it is a question of yes or no."""

STRINGS = re.compile(
    rb"#[^\n]*"  # a comment, in which quotes mean nothing
    rb"|('{3}|\"{3})(?:\\.|(?!\1).)*(?:\1|\Z)"  # a string in three quotes, over several lines
    rb"|(['\"])(?:\\.|(?!\2)[^\n])*(?:\2|$)",  # a string in one, in one line
    re.DOTALL | re.MULTILINE,
)
OPEN, CLOSE = b"([{", b")]}"


def inside_string(text: bytes) -> NDArray[np.float32]:
    """1 inside a string of Python source, from its opening quotes to before its last one.

    Knows both quotes, three of them, escapes and comments; quotes nested inside an f-string's
    braces end it.

    Example:
        >>> inside_string(b"a = 'b' # 'c").astype(int).tolist()
        [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    """
    inside = np.zeros(len(text), np.float32)
    for found in STRINGS.finditer(text):
        if text[found.start()] != ord("#"):
            quotes = found[1] or found[2]
            closed = found[0].endswith(quotes) and len(found[0]) >= 2 * len(quotes)
            inside[found.start() : found.end() - closed] = 1
    return inside


def inside_quotes(text: bytes, quote: bytes = b'"') -> NDArray[np.float32]:
    """1 between an odd and the next even quotation mark, the opening one included; for prose.

    Example:
        >>> inside_quotes(b'a "b" c').astype(int).tolist()
        [0, 0, 1, 1, 0, 0, 0]
    """
    marks = np.frombuffer(text, np.uint8) == quote[0]
    return (np.cumsum(marks) % 2).astype(np.float32)


def bracket_depth(text: bytes) -> NDArray[np.float32]:
    """How many of ( [ { are open, those in strings and comments of Python source not counted.

    A closing bracket without an opening one changes nothing.

    Example:
        >>> bracket_depth(b"f(a[0], '(')").astype(int).tolist()
        [0, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 0]
    """
    plain = STRINGS.sub(lambda found: b" " * len(found[0]), text)
    depth, depths = 0, np.zeros(len(text), np.float32)
    last = 0
    for found in re.finditer(rb"[(){}\[\]]", plain):
        depths[last : found.start()] = depth
        depth = depth + 1 if found[0] in OPEN else max(0, depth - 1)
        last = found.start()
    depths[last:] = depth
    return depths


def position_in_line(text: bytes) -> NDArray[np.float32]:
    """How many bytes of the line have been read; 0 at the line feed that ends it.

    Example:
        >>> position_in_line(b"ab\\nc").astype(int).tolist()
        [1, 2, 0, 1]
    """
    feeds = np.frombuffer(text, np.uint8) == ord("\n")
    places = np.arange(len(text))
    last = np.maximum.accumulate(np.where(feeds, places, -1))
    return (places - last).astype(np.float32)


def indentation(text: bytes) -> NDArray[np.float32]:
    """How many spaces stand before the line's first other byte; those read so far before it.

    A tab counts as one. The line feed belongs to the line that it ends.

    Example:
        >>> indentation(b"  a\\nb\\n").astype(int).tolist()
        [1, 2, 2, 2, 0, 0]
    """
    found = np.zeros(len(text), np.float32)
    for line in re.finditer(rb"([ \t]*)[^\n]*\n?", text):
        blanks = len(line[1])
        start = line.start()
        found[start : line.end()] = blanks
        found[start : start + blanks] = np.arange(1, blanks + 1)
    return found


TEXT_PROPERTIES: Mapping[str, Property] = {
    "inside a string": inside_string,
    "bracket depth": bracket_depth,
    "position in line": position_in_line,
    "indentation": indentation,
}
"""Properties of Python source that make sense for a model of bytes."""


def label_text(
    text: bytes | Tensor,
    properties: Mapping[str, Property] = TEXT_PROPERTIES,
    *,
    streams: int = 16,
    window: int = 256,
) -> Iterator[tuple[Tensor, dict[str, NDArray[np.float32]]]]:
    """Read a text in windows of parallel streams, with every property of every byte.

    Stream b reads the b-th of B equal stretches; the bytes that are left over are not read. Use
    with `carry_state()`, so that the state goes from window to window.

    Args:
        text: the bytes, or uint8 [n].
        properties: what to know of every byte; they see the whole text.
        streams: B.
        window: T, bytes of each stream in a batch.

    Yields:
        The inputs, int64 [T, B], and by name the labels, float32 [T, B].

    Raises:
        ValueError: the text is shorter than one window of every stream, or a property does not
            give one number per byte.

    Example:
        >>> batches = label_text(b"a = 'b'\\n" * 10, streams=2, window=10)
        >>> inputs, labels = next(batches)
        >>> inputs.shape, labels["inside a string"].shape
        (torch.Size([10, 2]), (10, 2))
    """
    check_whole(streams=streams, window=window)
    if streams < 1 or window < 1:
        raise ValueError(f"streams = {streams} and window = {window}; expected at least 1 of each")
    given = _bytes_of(text)
    stretch = len(given) // streams // window * window
    if not stretch:
        raise ValueError(
            f"a text of {len(given):,} bytes; expected at least {streams * window:,}: "
            f"{streams} streams of {window} bytes each; give fewer streams or a shorter window"
        )
    labels = {name: _checked(name, of(given), len(given)) for name, of in properties.items()}
    values = np.frombuffer(given, np.uint8)
    for first in range(0, stretch, window):
        place = slice(first, first + window)
        yield (
            torch.from_numpy(_windows(values, streams, stretch, place)).long(),
            {name: _windows(label, streams, stretch, place) for name, label in labels.items()},
        )


def _bytes_of(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, Tensor) and text.dtype == torch.uint8 and text.dim() == 1:
        return text.cpu().numpy().tobytes()
    came = f"{text.dtype} {list(text.shape)}" if isinstance(text, Tensor) else type(text).__name__
    raise TypeError(f"the text is {came}; expected bytes (of a str: text.encode()), or uint8 [n]")


def _windows(values: NDArray[Any], streams: int, stretch: int, place: slice) -> NDArray[Any]:
    """A window of each stream, [T, B]."""
    rows = values[: streams * stretch].reshape(streams, stretch)
    return np.array(rows[:, place].T, order="C")  # a copy: the text's own memory is read-only


def _checked(name: str, label: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if label.shape != (count,):
        raise ValueError(
            f"the property {name!r} gave the shape {list(label.shape)} for {count:,} bytes; "
            "expected one number per byte"
        )
    return label
