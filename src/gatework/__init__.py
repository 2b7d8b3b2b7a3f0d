"""Gatework: write the gates once."""

from importlib.metadata import version as _version

from gatework import cells, nn
from gatework.backends import use_backend
from gatework.compiler.explanation import explain
from gatework.lang import *  # noqa: F403 - the words of the language are public names
from gatework.lang import __all__ as _language
from gatework.lang.equivalence import equivalent

__version__ = _version("gatework")

__all__ = ["__version__", "cells", "equivalent", "explain", "nn", "use_backend", *_language]  # noqa: PLE0604
