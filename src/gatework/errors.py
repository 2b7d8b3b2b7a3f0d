"""The one exception for what a user got wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["InputError", "explained", "suggest"]


class InputError(ValueError):
    """Something given from outside cannot be used: what came, what was expected, how to mend it.

    The command line prints the three parts on standard error and exits with code 2; from
    Python it is a `ValueError` whose text is the same three parts.

    Example:
        >>> raise InputError("no such file: 'a.txt'", "a text file", "check the path")
        Traceback (most recent call last):
        gatework.errors.InputError: no such file: 'a.txt'
          expected: a text file
          to mend:  check the path
    """

    def __init__(self, came: str, expected: str, mend: str) -> None:
        self.came, self.expected, self.mend = came, expected, mend
        super().__init__(f"{came}\n  expected: {expected}\n  to mend:  {mend}")


@contextmanager
def explained(path: Path, expected: str) -> Iterator[None]:
    """Turn what the operating system says of a file into what a user can mend."""
    try:
        yield
    except FileNotFoundError:
        mend = "check the spelling and the current directory"
        raise InputError(f"no such file: {str(path)!r}", expected, mend) from None
    except OSError as error:
        came = f"{str(path)!r} cannot be read ({error.strerror})"
        raise InputError(came, expected, "check the path and its permissions") from None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'? " for the known name nearest to `name`, "" where none is near."""
    name = name.lower()
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    near.sort(key=lambda other: sorted(other) != sorted(name))  # swapped letters come first
    return f"did you mean {near[0]!r}? " if near else ""
