"""A cell's equations on values of another cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gatework.lang.axes import SCALAR, places, shown
from gatework.lang.definition import Cell, Parameter, Per
from gatework.lang.expressions import (
    Arrange,
    Const,
    Count,
    Expr,
    Matrix,
    Product,
    Reduce,
    Symbol,
    arrange,
    const,
    count,
    expand,
    postorder,
    product,
    reduce,
    symbol,
)
from gatework.lang.sizes import renamed

AddNoise = Callable[[float, Per, str], Symbol]  # a probability, per what, a size -> its row


def nested(cell: Cell, values: Sequence[Expr], prefix: str, add_noise: AddNoise) -> Cell:
    """The cell on other values than its own input and states, its names with a prefix.

    Args:
        cell: The cell.
        values: Its inputs, then its states.
        prefix: What its names begin with.
        add_noise: Registers a random row where the equations will stand.

    Raises:
        TypeError: If there are too few values or too many.
        ValueError: If values that have one size in the cell have two.
    """
    rows = (*cell.inputs, *cell.states)
    if len(values) != len(rows):
        wanted = ", ".join(r.name for r in rows)
        raise TypeError(f"the equations of {cell.name!r} take {wanted}; got {len(values)} value(s)")
    sizes = _sizes(cell, values)
    done: dict[Expr, Expr] = {
        r: expand(v, sizes[r.size]) for r, v in zip(rows, values, strict=True)
    }
    for noise in cell.noises:
        per: Per = "step" if noise.symbol.role == "sequence" else "sequence"
        size = renamed(noise.symbol.size, sizes)
        done[noise.symbol] = add_noise(noise.probability, per, size)
    for node in postorder(cell.named_values()):
        if node not in done:
            done[node] = _renamed(node, tuple(done[a] for a in node.args), sizes, prefix)
    return replace(
        cell,
        next_states=tuple(done[v] for v in cell.next_states),
        output=None if cell.output is None else done[cell.output],
        names={f"{prefix}_{n}": done[v] for n, v in cell.names.items()},
        parameters=tuple(_parameter(p, sizes, prefix) for p in cell.parameters),
        weight_drops=tuple(
            replace(d, parameter=_name(d.parameter, prefix)) for d in cell.weight_drops
        ),
        retrace=None,
    )


def _sizes(cell: Cell, values: Sequence[Expr]) -> dict[str, str]:
    """What the cell's sizes are called where its equations will stand."""
    found: dict[str, str] = {}
    rows = (*cell.inputs, *cell.states)
    for row, value in zip(rows, values, strict=True):
        if row.size == SCALAR != value.size:
            raise ValueError(
                f"{cell.name!r} reads a single number as {row.name!r}, got a value of the size "
                f"{value.size!r}; make one number of it, such as mean(v)"
            )
        if value.size != SCALAR and found.setdefault(row.size, value.size) != value.size:
            raise ValueError(
                f"in {cell.name!r}, {row.name!r} has the size {row.size!r}, which is "
                f"{found[row.size]!r} of one value and {value.size!r} of another; map one of them "
                "with linear(name, v)"
            )
    for row in rows:
        found.setdefault(row.size, row.size)
    return found


def _renamed(node: Expr, args: tuple[Expr, ...], sizes: Mapping[str, str], prefix: str) -> Expr:
    size = renamed(node.size, sizes)
    if isinstance(node, Const):
        return const(node.value, size)
    if isinstance(node, Count):
        return count(renamed(node.of, sizes))
    if isinstance(node, Symbol):
        return symbol(_name(node.name, prefix), node.role, size)
    if isinstance(node, Arrange):
        if places([size, *(a.size for a in args)]) > places(
            [node.size, *(a.size for a in node.args)]
        ):
            given = shown(args[0].size)
            raise ValueError(
                f"{node.kind} arranges rows of one axis there, and {given} has several"
            )
        bounds = tuple(renamed(b, sizes) for b in node.bounds())
        return arrange(node.kind, args, bounds or node.details, size, node.axis)
    if isinstance(node, Reduce):
        return reduce(node.function, args[0], size)
    if isinstance(node, Product):
        m = node.matrix
        rows, cols = (renamed(s, sizes) for s in (m.rows, m.cols))
        matrix = Matrix(f"{prefix}_{m.group}", m.gate, rows, cols, m.per)
        return product(matrix, args[0], node.transposed)
    return node.rebuilt(args)


def _parameter(p: Parameter, sizes: Mapping[str, str], prefix: str) -> Parameter:
    name = _name(p.name, prefix)
    blocks = (name,) if p.blocks == (p.name,) else p.blocks
    rows = tuple(renamed(s, sizes) for s in p.rows)
    cols = None if p.cols is None else renamed(p.cols, sizes)
    return replace(p, name=name, blocks=blocks, rows=rows, cols=cols)


def _name(name: str, prefix: str) -> str:
    """A learned value's name with the prefix: weight_ih is weight_inner_ih, gain inner_gain."""
    kind, _, group = name.partition("_")
    stacked = kind in ("weight", "bias") and group
    return f"{kind}_{prefix}_{group}" if stacked else f"{prefix}_{name}"
