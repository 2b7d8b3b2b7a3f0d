"""Sequences in: texts as bytes, and the batches that are trained on."""

from gatework.data.corpus import Corpus, load_corpus, load_files, load_stdlib
from gatework.data.errors import InputError, suggest
from gatework.data.streams import Streams, Window

__all__ = [
    "Corpus",
    "InputError",
    "Streams",
    "Window",
    "load_corpus",
    "load_files",
    "load_stdlib",
    "suggest",
]
