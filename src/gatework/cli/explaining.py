"""`gatework explain`."""

from __future__ import annotations

import shlex
from pathlib import Path

from gatework.cli.typed_cells import cell_typed
from gatework.files import write_atomically
from gatework.show.explanation import Explanation, explain

__all__ = ["explain_cell"]


def explain_cell(text: str, picture: Path | None, everything: bool) -> None:
    """Print a cell's equations and size; with `everything` also its derivative and plan.

    Args:
        text: A cell, as it was typed.
        picture: File for the picture of its data flow, or None.
        everything: Print all that there is to tell.
    """
    explained = explain(cell_typed(text))
    print(explained if everything else _short(explained, text))
    if picture is not None:
        write_atomically(picture, explained.svg.encode())
        print(f"\npicture  {picture}")


def _short(explained: Explanation, text: str) -> str:
    """What a cell computes and how large it is."""
    equations = [f"    {line}" for line in explained.equations]
    sizes = [line for line in explained.cost if line.startswith(("sizes", "parameters"))]
    more = f"gatework explain {shlex.quote(text)} --all"
    return "\n".join(
        [
            explained.title,
            "",
            *equations,
            "",
            *sizes,
            f"derivative, plan and cost: {more}",
        ]
    )
