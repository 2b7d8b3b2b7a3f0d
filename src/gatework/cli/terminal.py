"""Where the commands print: nothing that comes from a file is obeyed by the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from gatework.printable import printable

__all__ = ["Terminal"]


class Terminal(Console):
    """A console that shows text as it is: no markup, no emoji codes, and nothing that is obeyed.

    Example:
        >>> Terminal().print("a file called [b]\\x1b]0;gotcha\\x07:cat:")
        a file called [b]\\x1b]0;gotcha\\x07:cat:
    """

    def __init__(self, *, wrap: bool = False, **options: Any) -> None:
        """Make it.

        Args:
            wrap: break lines at the terminal's width, as tables need it.
            options: rich's.
        """
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=not wrap, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make what is printed of a text: `printable` stands at this one edge."""
        return super().render_str(printable(text), **options)
