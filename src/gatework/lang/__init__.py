"""What a cell is: expressions, tracing, pinning, equivalence, printing."""

from gatework.lang.definition import Cell
from gatework.lang.tracing import DefinitionError, cell
from gatework.lang.words import *  # noqa: F403 - the words of the language are this package's names
from gatework.lang.words import __all__ as _words

__all__ = ["Cell", "DefinitionError", "cell", *_words]
