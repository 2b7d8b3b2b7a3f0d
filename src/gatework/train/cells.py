"""Which cell a run trains: one of the catalogue by its name, any other by its equations.

A run keeps the equations of a cell of one's own as data. So it opens without the file in which the
cell was written, and nothing in a run folder is ever run as a program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import TypedDict

from gatework.cells import catalogue
from gatework.errors import InputError, suggest
from gatework.lang.axes import SCALAR, within
from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Count, Expr, expand, postorder
from gatework.lang.sizes import names_in
from gatework.lang.writing import cell_as_data, cell_of_data
from gatework.printable import brief

__all__ = [
    "MOST_CHARACTERS",
    "CellSettings",
    "cell_settings",
    "check_cell",
    "check_inputs",
    "check_unlike",
    "kept_cell",
    "sizes_of",
]

MOST_CHARACTERS = 400_000
"""Of a cell's equations as text."""
MOST_VALUES, MOST_DEEP = 2_000, 300
"""Values that one step computes; of them, each computed from the one before. The largest of the
catalogue has 264 and 50."""

LARGEST = 1e38
"""Number that a learned value may begin with, so that it is one in float32."""
FLAT = frozenset({"stop", "floor", "sign", "lt", "le"})
"""Functions whose derivative is 0."""


class CellSettings(TypedDict):
    """The two settings of a run that say which cell it trains."""

    cell: str
    equations: str | None


def cell_settings(cell: Cell) -> CellSettings:
    """Return the settings of a run by which it trains a cell, and can be opened again.

    Raises:
        InputError: the cell cannot be trained on a text, or has no name that a folder can have.

    Example:
        >>> from gatework import cells
        >>> cell_settings(cells.gru)
        {'cell': 'gru', 'equations': None}
        >>> cell_settings(cells.gru.pin(r=1, z=0))["cell"]
        'gru[r=1,z=0]'
    """
    if not isinstance(cell, Cell):
        raise InputError(
            f"{brief(cell)} in place of a cell",
            "a cell of your own, made by gatework.cell, or one of gatework.cells",
            "give it as it is: gatework.cells.gru",
        )
    if catalogue().get(cell.name) is cell:
        return {"cell": cell.name, "equations": None}
    _check_trainable(cell)
    return {"cell": cell.name, "equations": json.dumps(cell_as_data(cell))}


def check_cell(name: str) -> str:
    """Return the name of a cell of the catalogue as it is.

    Raises:
        InputError: no such cell; the nearest name is suggested.
    """
    known = catalogue()
    if name in known:
        return name
    raise InputError(
        f"unknown cell {name!r}",
        f"one of the {len(known)} cells of the catalogue, such as rnn, lstm or gru",
        f"{suggest(name, known)}see them all with: gatework cells",
    )


def check_inputs(cell: Cell, given: Collection[str] = ()) -> None:
    """Raise unless all that a cell reads beside its input is given.

    Args:
        cell: the cell.
        given: what a command has to give it, by name.

    Raises:
        InputError: it reads more.
    """
    missing = [row.name for row in cell.further if row.name not in given]
    if missing:
        raise InputError(
            f"the cell {cell.name!r} reads {', '.join(missing)} beside its input",
            f"a cell that reads its input and {' and '.join(given)}"
            if given
            else "a cell that reads one input, here the characters of a text or random numbers",
            "take another cell, or run this one in Python: gatework.nn.Recurrent",
        )


def check_unlike(cells: Iterable[Cell]) -> None:
    """Check that no two cells have the same name, by which tables and folders tell them apart.

    Raises:
        InputError: two have.
    """
    names: set[str] = set()
    for cell in cells:
        if cell.name in names:
            raise InputError(
                f"two cells that are called {cell.name!r}",
                "different cells, each with a name of its own",
                "leave one out, or give it another name where it is defined",
            )
        names.add(cell.name)


@lru_cache(64)
def kept_cell(name: str, equations: str | None) -> Cell:
    """Return the cell that `cell_settings` wrote down, the same one for the same settings.

    Raises:
        InputError: there is no such cell, or these are not its equations.
    """
    if equations is None:
        return catalogue()[check_cell(name)]
    try:
        cell = cell_of_data(_data_of(equations))
    except (ValueError, RecursionError) as error:
        raise _damaged(name, str(error)) from None
    if fault := _fault(cell, name):
        raise _damaged(name, fault)
    _check_trainable(cell)
    return cell


def _data_of(equations: str) -> dict[str, object]:
    data = json.loads(equations)
    if not isinstance(data, dict) or not isinstance(data.get("nodes"), list):
        raise ValueError("there are no equations")
    if len(data["nodes"]) > 2 * MOST_VALUES:  # the rows of what goes in among them
        raise ValueError(f"there are {len(data['nodes']):,} rows")
    return data


def _fault(cell: Cell, called: str) -> str | None:
    """What a cell that was written down by `cell_settings` never has."""
    sizes = {"input", "hidden", *cell.size_names()}
    learned = [p.name for p in cell.parameters]
    starts = (p.init for p in cell.parameters if isinstance(p.init, int | float))
    if any(abs(start) > LARGEST for start in starts):
        return "a parameter begins with a number that is too large"
    if max(len(cell.names), sum(len(p.blocks) for p in cell.parameters)) > 2 * MOST_VALUES:
        return "they have very many names"
    if cell.name != called:
        return f"they are of a cell called {cell.name!r}"
    for name, value in zip(cell.result_names(), cell.results(), strict=True):
        named = cell.names.get(name, cell.input)
        if not within(named.size, value.size) or expand(named, value.size) is not value:
            return f"{name!r} is not what a step computes"
    if any(names_in(size) - sizes for size in sizes_of(cell)):
        return "there is a size that no value has"
    if own := [n for n in learned if n.startswith(("d_", "pin_"))]:
        return f"the parameter {own[0]!r} has a name of the compiler's own"
    return None


def sizes_of(cell: Cell) -> set[str]:
    """The sizes of all that a cell computes, counts and learns."""
    nodes = [*cell.states, *postorder(cell.named_values())]
    counted = {node.of for node in nodes if isinstance(node, Count)}
    learned = {size for p in cell.parameters for size in (*p.rows, p.cols or SCALAR)}
    return {node.size for node in nodes} | counted | learned


def _damaged(name: str, reason: str) -> InputError:
    return InputError(
        f"the equations of cell {name!r} cannot be used: {' '.join(reason.split())[:300]}",
        "equations as a run wrote them down",
        "restore them, or train again",
    )


# ---- what can be trained -------------------------------------------------------------------------


def _check_trainable(cell: Cell) -> None:
    form = re.fullmatch(r"([^\[\]]+)(?:\[[\w.=,+-]+\])?", cell.name)
    if form is None or not form[1].isidentifier():
        raise InputError(
            f"a cell that is called {cell.name!r}",
            "a name that a folder can have, such as latch or gru[r=1,z=0]",
            "define it by a function of that name, or dataclasses.replace(cell, name='latch')",
        )
    _check_length(cell)
    if not _learns_from_its_input(cell):
        raise InputError(
            f"cell {cell.name!r}: no gradient passes from its output to its input",
            "a cell that can learn from what it reads",
            "hold other values of it, or change its equations",
        )


def _check_length(cell: Cell) -> None:
    deep: dict[Expr, int] = {}
    for node in postorder(cell.named_values()):
        deep[node] = 1 + max((deep[a] for a in node.args), default=0)
    deepest = max(deep.values(), default=0)
    if len(deep) > MOST_VALUES or deepest > MOST_DEEP:
        raise InputError(
            f"cell {cell.name!r} with {len(deep):,} values in a step, {deepest:,} deep",
            f"at most {MOST_VALUES:,} values, {MOST_DEEP} deep",
            "compute less in a step",
        )


def _learns_from_its_input(cell: Cell) -> bool:
    """Whether a gradient of the output ever reaches the input, perhaps after some steps."""
    new = dict(zip(cell.states, cell.next_states, strict=True))
    reached: set[Expr] = set()
    nodes = _moved_by_gradients([cell.output_value])
    while cell.input not in nodes:
        more = {state for state in cell.states if state in nodes} - reached
        if not more:
            return False
        reached |= more
        nodes = _moved_by_gradients([new[state] for state in more])
    return True


def _moved_by_gradients(values: Sequence[Expr]) -> set[Expr]:
    """What some values are computed from in such a way that a gradient comes back to it."""
    flat = {n for n in postorder(values) if isinstance(n, Apply) and n.function in FLAT}
    return set(postorder(values, until=flat))
