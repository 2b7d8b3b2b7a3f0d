"""`gatework cells`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gatework.cells import families
from gatework.cli.asked import check_out
from gatework.cli.finding import UNITS, Entry, find
from gatework.cli.terminal import Terminal
from gatework.files import write_atomically

__all__ = ["show_cells"]

WIDE, NARROW = 110, 60
"""From the one width on, states and parameters have columns of their own; below the other, a
cell's description stands under its name."""


def show_cells(words: Sequence[str], family: str | None, out: Path | None) -> None:
    """Print the cells that have all words, family by family; in a pipe each on a line of its own.

    Args:
        words: what is looked for; none for all cells.
        family: the only family to show, or None.
        out: file for what is known of them, or None.

    Raises:
        InputError: no cell has them.
    """
    check_out("--json", out)
    found = find(words, family)
    if out is not None:
        content = [entry.as_data() for entry in found]
        write_atomically(out, json.dumps(content, indent=1).encode())
    console = Terminal(wrap=True)
    if not console.is_terminal:
        print("\n".join(_lines(found)))
        return
    _show(console, found)
    if not words and family is None:
        console.print("\nwords narrow the list: gatework cells gru, or --family lstm")
    if out is not None:
        console.print(f"\nwritten  {out}")


def _lines(found: Sequence[Entry]) -> Iterator[str]:
    """A line for each: name, family, states, what it is."""
    name, family, states = (
        max(map(len, column))
        for column in zip(*((e.cell.name, e.family, _states(e)) for e in found), strict=True)
    )
    for e in found:
        columns = f"{e.cell.name:{name}}  {e.family:{family}}  {_states(e):{states}}"
        yield f"{columns}  {e.first_line}"


def _show(console: Console, found: Sequence[Entry]) -> None:
    longest = max(len(entry.cell.name) for entry in found)
    for key, members in groupby(found, lambda entry: entry.family):
        title = (families()[key].title, "bold")
        console.print(Text.assemble("\n", title, (f"  --family {key}", "dim")))
        _show_family(console, list(members), longest)
    if console.width >= WIDE:
        console.print(
            f"\nwith its states, and its parameters in a layer of {UNITS} units and inputs"
        )


def _show_family(console: Console, members: Sequence[Entry], longest: int) -> None:
    if console.width < NARROW:
        for entry in members:
            console.print(entry.cell.name)
            console.print(Padding(entry.first_line, (0, 0, 0, 2)))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("cell", no_wrap=True, min_width=longest)
    if console.width >= WIDE:
        table.add_column("states", no_wrap=True, min_width=13)
        table.add_column("parameters", justify="right", no_wrap=True, min_width=7)
    table.add_column("what it is")
    for e in members:
        more = [_states(e), f"{e.parameters:,}"] if console.width >= WIDE else []
        table.add_row(e.cell.name, *more, e.first_line)
    console.print(table)


def _states(entry: Entry) -> str:
    return ", ".join(entry.states)
