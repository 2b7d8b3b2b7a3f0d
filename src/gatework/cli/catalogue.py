"""`gatework cells` and `gatework explain`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from gatework.cells import catalogue
from gatework.cli.terminal import Terminal
from gatework.cli.typed_cells import cell_typed
from gatework.errors import InputError, suggest
from gatework.files import write_atomically
from gatework.lang import Cell
from gatework.lang.sizes import Sizes
from gatework.show.explanation import Explanation, explain

__all__ = ["explain_cell", "show_cells"]

UNITS = 128
"""Size for which parameters are counted."""
NARROW = 72
"""Width below which a cell's description stands under its name."""
FAMILIES = {"rnn": "The vanilla RNN and its like", "lstm": "LSTMs", "gru": "GRUs"}
"""By a part of the name; what has none of them are further cells."""


def show_cells(words: Sequence[str]) -> None:
    """Print the catalogue, family by family.

    Args:
        words: parts of a name or description; cells that have all of them are shown.

    Raises:
        InputError: no cell has them.
    """
    console = Terminal(wrap=True)
    found = {name: cell for name, cell in catalogue().items() if _matches(name, cell, words)}
    if not found:
        raise InputError(
            f"no cell with {' and '.join(map(repr, words))} in its name or description",
            f"words that one of the {len(catalogue())} cells has, such as gru or norm",
            f"{suggest(words[0], catalogue())}see them all with: gatework cells",
        )
    for title, names in _families(list(found)):
        console.print(f"\n{title}", style="bold")
        _show(console, {name: found[name] for name in names})
    console.print(f"\nwith its states, and its parameters in a layer of {UNITS} units and inputs")
    if not words:
        console.print("a word narrows the list: gatework cells gru")


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


def _matches(name: str, cell: Cell, words: Sequence[str]) -> bool:
    text = f"{name} {_first_line(cell)}".lower()
    return all(word.lower() in text for word in words)


def _families(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each family with its members, the cell that it is named after first."""
    rest = list(names)
    for part, title in FAMILIES.items():
        members = [name for name in rest if part in name]
        rest = [name for name in rest if part not in name]
        if members:
            yield title, sorted(members, key=lambda name: name != part)
    if rest:
        yield "Further cells", rest


def _show(console: Console, cells: dict[str, Cell]) -> None:
    if console.width < NARROW:
        for name, cell in cells.items():
            console.print(f"{name} ({_states(cell)}), {_parameters(cell):,}")
            console.print(Padding(_first_line(cell), (0, 0, 0, 2)))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("cell", no_wrap=True, min_width=22)
    table.add_column("states", no_wrap=True, min_width=6)
    table.add_column("parameters", justify="right", no_wrap=True, min_width=7)
    table.add_column("what it is")
    for name, cell in cells.items():
        table.add_row(name, _states(cell), f"{_parameters(cell):,}", _first_line(cell))
    console.print(table)


def _states(cell: Cell) -> str:
    return ", ".join(state.name for state in cell.states)


def _first_line(cell: Cell) -> str:
    return cell.doc.strip().partition("\n")[0]


def _parameters(cell: Cell) -> int:
    """Count the learned numbers of a layer of `UNITS` units, any other size being as large."""
    plain = dict.fromkeys(("input", "hidden", *cell.size_names()), UNITS)
    sizes = Sizes.of({"1": 1, **plain, **cell.axis_lengths(UNITS, {})})
    return sum(math.prod(p.shape(sizes)) for p in cell.parameters if p.learned)
