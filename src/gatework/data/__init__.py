"""Sequences in: texts, tables and arrays, and the part of them that is held out."""

from gatework.data.characters import Character, characters_of
from gatework.data.columns import Columns
from gatework.data.corpus import Corpus, check_files, load_corpus, load_files, load_stdlib
from gatework.data.reading import read_sequences
from gatework.data.sequences import Sequences

__all__ = [
    "Character",
    "Columns",
    "Corpus",
    "Sequences",
    "characters_of",
    "check_files",
    "load_corpus",
    "load_files",
    "load_stdlib",
    "read_sequences",
]
