"""A cell with values held: at 0 or 1 in its equations, else by parameters that the call hands in.

What changes from call to call is no part of the equations, so that another number runs the same
kernel. Only 0 and 1, at which a gate is closed or open, are written into the equations, which then
compute less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from gatework.lang.definition import Cell, Parameter
from gatework.lang.expressions import Expr, apply, symbol
from gatework.lang.keeping import of_the_cell


class Held(NamedTuple):
    """Which values are held: at 0 or 1, by a tensor, for some units. Names are in order."""

    numbers: tuple[tuple[str, float], ...] = ()
    tensors: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


NONE_HELD = Held()


@of_the_cell(64)
def pinned_cell(cell: Cell, held: Held) -> Cell:
    """The cell with values held, by further parameters where they are tensors."""
    sizes = {n: cell.names[n].size for n in (*held.tensors, *held.units)}
    rows = {n: symbol(_held_by(n), "parameter", size) for n, size in sizes.items()}
    which = {n: symbol(f"{_held_by(n)}__units", "parameter", sizes[n]) for n in held.units}
    whole: dict[str, float | Expr] = {**dict(held.numbers), **{n: rows[n] for n in held.tensors}}
    new = cell.changing({n: _for_some(which[n], rows[n]) for n in held.units}).holding(whole)
    read = (*rows.values(), *which.values())
    values = tuple(Parameter(s.name, (s.name,), (s.size,)) for s in read)
    # A trace may ask for what went into a pinned gate, so nothing that it reads is left out.
    return replace(new, parameters=(*cell.parameters, *values), noises=cell.noises)


def _held_by(name: str) -> str:
    """The parameter that holds a named value; a dot would make it a block of another one."""
    return f"pin_{name.replace('.', '__')}"


def _for_some(which: Expr, held: Expr) -> Callable[[Expr], Expr]:
    return lambda value: apply("where", which, held, value)
