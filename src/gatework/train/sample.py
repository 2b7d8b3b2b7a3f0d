"""Writing on: text drawn from a model, a byte at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gatework.data import InputError
from gatework.nn import Carry
from gatework.train.model import LanguageModel

__all__ = ["as_characters", "as_text", "generate"]


def generate(
    model: LanguageModel, prompt: bytes, length: int, *, temperature: float = 0.7, seed: int = 0
) -> bytes:
    """Continue a text.

    Each byte is drawn from softmax(scores / temperature): towards 0 the likeliest byte is
    always taken, 1 draws as the model believes, above 1 is wilder.

    Args:
        model: left in evaluation mode.
        prompt: what the model reads first; a line feed where it is empty.
        length: bytes to draw.
        temperature: above 0.
        seed: of the draws; the same seed gives the same text.

    Returns:
        The drawn bytes, without the prompt.

    Raises:
        InputError: length below 1 or temperature not above 0.
    """
    if length < 1:
        raise InputError(f"length = {length}", "at least 1 byte", "give a larger --length")
    if not 0 < temperature < float("inf"):
        came = f"temperature = {temperature}"
        raise InputError(came, "a number above 0", "0.7 is a good start; smaller is safer")
    return bytes(_draw(model, prompt or b"\n", length, temperature, seed))


@torch.no_grad()
def _draw(
    model: LanguageModel, prompt: bytes, length: int, temperature: float, seed: int
) -> Iterator[int]:
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.tensor(list(prompt)).unsqueeze(1)  # [T, 1]
    carry = Carry(model)
    scores, _ = carry(inputs)
    for _ in range(length):
        chances = torch.softmax(scores[-1, 0].double() / temperature, dim=0)
        inputs = torch.multinomial(chances, 1, generator=generator).unsqueeze(1)  # [1, 1]
        yield int(inputs)
        scores, _ = carry(inputs)


def as_text(text: bytes) -> str:
    """Decode bytes for a terminal or a page: UTF-8; what is not, and control characters, as �."""
    return "".join(map(_harmless, text.decode("utf-8", errors="replace")))


def as_characters(text: bytes) -> str:
    """Return a character for each byte: itself if it is printable ASCII or white space, else �."""
    return "".join(map(_harmless, text.decode("ascii", errors="replace")))


def _harmless(character: str) -> str:
    return character if character.isprintable() or character in "\n\t" else "\ufffd"
