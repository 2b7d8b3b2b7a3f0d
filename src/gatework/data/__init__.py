"""Sequences in: texts as bytes, and the batches that are trained on."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from gatework.data.characters import Character, characters_of
from gatework.data.corpus import Corpus, check_files, load_corpus, load_files, load_stdlib

if TYPE_CHECKING:
    from gatework.data.streams import Streams, Window

__all__ = [
    "Character",
    "Corpus",
    "Streams",
    "Window",
    "characters_of",
    "check_files",
    "load_corpus",
    "load_files",
    "load_stdlib",
]


def __getattr__(name: str) -> _Any:
    """Load what needs torch when it is first asked for."""
    if name not in ("Streams", "Window"):
        raise AttributeError(f"module 'gatework.data' has no attribute {name!r}")
    return getattr(_import_module("gatework.data.streams"), name)


def __dir__() -> list[str]:
    """Name what is not loaded yet too, so that it completes."""
    return sorted({*globals(), *__all__})
