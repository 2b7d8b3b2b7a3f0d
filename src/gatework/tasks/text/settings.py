"""What is asked of a text."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from gatework.tasks.settings import TaskSettings

__all__ = ["SETTINGS", "TextSettings"]


class TextSettings(TaskSettings):
    """Predict each symbol of a text from all before it.

    Example:
        >>> TextSettings.of(symbols="characters").embedding_size
        64
    """

    used_by: ClassVar[str] = "gatework sample"
    tunable: ClassVar[tuple[str, ...]] = ("embedding_size",)
    kind: Literal["text"] = "text"
    symbols: Literal["bytes", "characters"] = "bytes"
    """What a step reads: any file is bytes; a text in one script has fewer, longer characters."""
    embedding_size: int = Field(64, gt=0, le=1_000_000)
    """Numbers by which each symbol is represented to the first layer, E."""


SETTINGS = {"text": TextSettings}
