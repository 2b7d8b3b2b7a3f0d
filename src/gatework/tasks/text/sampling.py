"""Writing on: text drawn from a model, a symbol at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch

from gatework.data import characters_of
from gatework.data.characters import readable
from gatework.errors import InputError
from gatework.nn import Carry
from gatework.tasks.text.model import LanguageModel

__all__ = ["as_text", "generate", "openings", "write_on"]

TRIED, LINE, OPENING = 40, 200, 8
"""Places looked at for a line to begin with; bytes of it; the most characters that are taken."""


def generate(
    model: LanguageModel, prompt: bytes, length: int, *, temperature: float = 0.7, seed: int = 0
) -> bytes:
    """Continue a text. See `write_on`, which gives it symbol by symbol.

    Returns:
        The drawn bytes, without the prompt.
    """
    return b"".join(write_on(model, prompt, length, temperature=temperature, seed=seed))


def write_on(
    model: LanguageModel, prompt: bytes, length: int, *, temperature: float = 0.7, seed: int = 0
) -> Iterator[bytes]:
    """Continue a text, symbol by symbol as it is drawn.

    Each symbol is drawn from softmax(scores / temperature): towards 0 the likeliest one is
    always taken, 1 draws as the model believes, above 1 is wilder.

    Args:
        model: left in evaluation mode.
        prompt: what the model reads first; a line feed where it is empty.
        length: symbols to draw.
        temperature: above 0.
        seed: of the draws; the same seed gives the same text.

    Returns:
        The bytes of the drawn symbols one by one, without the prompt.

    Raises:
        InputError: length below 1, temperature not above 0, or the model's predictions are no
            numbers.
    """
    if length < 1:
        raise InputError(f"length = {length}", "at least 1", "give a larger --length")
    if not 0 < temperature < float("inf"):
        came = f"temperature = {temperature}"
        raise InputError(came, "a number above 0", "0.7 is a good start; smaller is safer")
    return _draw(model, prompt or b"\n", length, temperature, seed)


@torch.no_grad()
def _draw(
    model: LanguageModel, prompt: bytes, length: int, temperature: float, seed: int
) -> Iterator[bytes]:
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.tensor(model.symbols_of(prompt)).unsqueeze(1)  # [T, 1]
    carry = Carry(model)
    scores, _ = carry(inputs)
    for _ in range(length):
        likely = scores[-1, 0].double()
        chances = torch.softmax((likely - likely.max()) / temperature, dim=0)
        if not chances.isfinite().all():
            raise InputError(
                "the model's predictions are no numbers: its weights are out of all bounds",
                "a model that was trained without diverging",
                "train again, with a smaller learning rate",
            )
        inputs = torch.multinomial(chances, 1, generator=generator).unsqueeze(1)  # [1, 1]
        yield model.spelled(int(inputs))
        scores, _ = carry(inputs)


def as_text(text: bytes) -> str:
    """Decode bytes for a terminal or a page, in whole characters; see `readable`."""
    return "".join(readable([text]))


def openings(text: bytes, count: int) -> list[bytes]:
    """Choose beginnings of lines to be continued: of whole characters that can be printed.

    Args:
        text: such as a corpus's held-out part.
        count: how many at most; fewer where the text has not so many different ones.

    Example:
        >>> found = openings("\\n  if x:\\n床前明月光，疑是地上霜".encode(), count=2)
        >>> [opening.decode() for opening in found]
        ['if ', '床前明月光，疑是']
    """
    found: dict[bytes, None] = {}
    for place in np.linspace(0, len(text), TRIED, endpoint=False).astype(int).tolist():
        after_break = text.find(b"\n", place) + 1 or text.find(b" ", place) + 1
        if opening := _opening(text, after_break or place):
            found[opening] = None
        if len(found) == count:
            break
    return list(found)


def _opening(text: bytes, begin: int) -> bytes:
    """The first word of the line that begins there, or its first few characters; or nothing."""
    line = text[begin : begin + LINE].partition(b"\n")[0]
    characters = characters_of(text, begin, begin + len(line))
    word = re.match(r"\s*(\S* ?)", "".join(c.text for c in characters))
    assert word is not None  # which the empty text matches
    given = word[1].encode("utf-8", "surrogateescape")
    if as_text(given) != word[1] or not re.search(r"\w|[^\x00-\x7f]", word[1]):
        return b""
    return "".join(c.text for c in characters_of(given)[:OPENING]).encode()
