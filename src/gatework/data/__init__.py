"""Sequences in: texts as bytes, and the batches that are trained on."""

from gatework.data.characters import Character, characters_of
from gatework.data.corpus import Corpus, load_corpus, load_files, load_stdlib
from gatework.data.errors import InputError, suggest
from gatework.data.streams import Streams, Window

__all__ = [
    "Character",
    "Corpus",
    "InputError",
    "Streams",
    "Window",
    "characters_of",
    "load_corpus",
    "load_files",
    "load_stdlib",
    "suggest",
]
