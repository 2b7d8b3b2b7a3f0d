"""A cell's equations as data, and back: a saved graph and a run on disk hold what they compute.

Every expression is one row, after the rows of its arguments, which it names by their numbers:

    ["const", 0.5, size]  ["count", size]  ["symbol", name, role, size]
    ["apply", function, [arguments]]  ["reduce", function, argument, size]
    ["arrange", kind, [arguments], details, size]  and the place of its axis, where that is not 0
    ["product", [group, gate, rows, cols], argument, transposed]

Of a parameter that starts with numbers of its own the data say so, but not how they are found:
what is read back starts it at NaN, for the numbers to be loaded.

What is read back is built by the same functions as a traced cell, so it is checked and simplified
as one: the data can hold equations and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any, get_args

from gatework.lang.axes import within
from gatework.lang.definition import LOST, Cell, Noise, Parameter, Start, WeightDrop, block_of
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Arrangement,
    Const,
    Count,
    Expr,
    Matrix,
    Product,
    Reduce,
    Reduction,
    Role,
    Symbol,
    apply,
    arrange,
    const,
    count,
    postorder,
    product,
    reduce,
    symbol,
)
from gatework.lang.functions import FUNCTIONS
from gatework.lang.sizes import checked

Shape = tuple[str, str | None, str | None]  # of a block of a parameter: rows, columns, per what


def cell_as_data(cell: Cell, names: Sequence[str] | None = None) -> dict[str, Any]:
    """A cell as lists, strings and numbers: its equations, what they read, what it says of itself.

    Args:
        cell: The cell. The function that it was traced from is no part of it.
        names: Which of its named values are kept; all unless given.

    Example:
        >>> from gatework import cells, equivalent
        >>> equivalent(cell_of_data(cell_as_data(cells.gru)), cells.gru)
        True
    """
    named = {n: cell.names[n] for n in (cell.names if names is None else names)}
    noises = tuple(n.symbol for n in cell.noises)
    roots = (*cell.inputs, *cell.states, *noises, *cell.results(), *named.values())
    number = {node: k for k, node in enumerate(postorder(roots))}
    return {
        "name": cell.name,
        "doc": cell.doc,
        "nodes": [_row(node, [number[a] for a in node.args]) for node in number],
        "input": number[cell.input],
        "further": [number[s] for s in cell.further],
        "states": [number[s] for s in cell.states],
        "next": [number[v] for v in cell.next_states],
        "output": None if cell.output is None else number[cell.output],
        "names": {n: number[v] for n, v in named.items()},
        "parameters": [
            [p.name, p.blocks, p.rows, p.cols, _start(p), p.learned, *_per(p)]
            for p in cell.parameters
        ],
        "noises": [[number[n.symbol], n.probability] for n in cell.noises],
        "weight_drops": [[d.parameter, d.blocks, d.probability] for d in cell.weight_drops],
        "constants": {n: +v for n, v in cell.constants.items()},  # True is written as 1
    }


def cell_of_data(data: Mapping[str, Any]) -> Cell:
    """The cell that `cell_as_data` wrote. Its constants are fixed: its function is not there.

    Raises:
        ValueError: If the data hold something else, or equations that no cell can have.
    """
    try:
        cell = _cell(data)
        _check(cell)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ValueError(f"these are not the equations of a cell: {error!r}") from error
    except RecursionError as error:
        raise ValueError("these are not the equations of a cell: they are too deep") from error
    return cell


def _cell(data: Mapping[str, Any]) -> Cell:
    nodes, output = _nodes(data["nodes"]), data.get("output")
    return Cell(
        name=_text(data["name"]),
        doc=_text(data["doc"]),
        input=_symbol(nodes, data["input"], "sequence"),
        further=tuple(_symbol(nodes, k, "sequence", "constant") for k in data.get("further", ())),
        states=tuple(_symbol(nodes, k, "state") for k in data["states"]),
        next_states=tuple(_at(nodes, k) for k in data["next"]),
        output=None if output is None else _at(nodes, output),
        names={_path(n): _at(nodes, k) for n, k in data["names"].items()},
        parameters=tuple(_parameter(*row) for row in data["parameters"]),
        noises=tuple(
            Noise(_symbol(nodes, k, "sequence", "constant"), _probability(p))
            for k, p in data["noises"]
        ),
        weight_drops=tuple(
            WeightDrop(_name(parameter), tuple(map(_name, blocks)), _probability(p))
            for parameter, blocks, p in data["weight_drops"]
        ),
        constants={_name(n): _number(v) for n, v in data["constants"].items()},
    )


def _row(node: Expr, args: Sequence[int]) -> list[Any]:
    if isinstance(node, Const):
        return ["const", node.value, node.size]
    if isinstance(node, Count):
        return ["count", node.of]
    if isinstance(node, Symbol):
        return ["symbol", node.name, node.role, node.size]
    if isinstance(node, Apply):
        return ["apply", node.function, list(args)]
    if isinstance(node, Reduce):
        return ["reduce", node.function, args[0], node.size]
    if isinstance(node, Arrange):
        row = ["arrange", node.kind, list(args), list(node.details), node.size]
        return [*row, node.axis] if node.axis else row
    assert isinstance(node, Product)
    m = node.matrix
    return ["product", [m.group, m.gate, m.rows, m.cols, *_per(m)], args[0], node.transposed]


def _per(of: Matrix | Parameter) -> list[str]:
    """The axis along which maps are block-diagonal, where there is one."""
    return [] if of.per is None else [of.per]


def _nodes(rows: Sequence[Sequence[Any]]) -> list[Expr]:
    nodes: list[Expr] = []
    for kind, *fields in rows:
        nodes.append(_node(kind, fields, nodes))
    return nodes


def _node(kind: str, fields: Sequence[Any], before: Sequence[Expr]) -> Expr:
    if kind == "const":
        value, size = fields
        return const(_number(value), _size(size))
    if kind == "count":
        return count(_size(*fields))
    if kind == "symbol":
        name, role, size = fields
        return symbol(_path(name), _known(role, get_args(Role), "role"), _size(size))
    if kind == "apply":
        function, arguments = fields
        return _applied(function, [_at(before, k) for k in arguments])
    if kind == "reduce":
        reduction, row, size = fields
        return _reduced(reduction, _at(before, row), _size(size))
    if kind == "arrange":
        word, rows, details, size, *axis = fields
        known = _details(_known(word, get_args(Arrangement), "arrangement"), len(rows), details)
        return arrange(word, [_at(before, k) for k in rows], known, _size(size), *map(_whole, axis))
    if kind == "product":
        (group, gate, rows, cols, *per), row, transposed = fields
        sizes = _size(rows), _size(cols)
        matrix = Matrix(_name(group), _name(gate), *sizes, *map(_name, per))
        return product(matrix, _at(before, row), _flag(transposed))
    raise ValueError(f"there is no kind of expression {kind!r}")


def _applied(function: Any, arguments: Sequence[Expr]) -> Expr:
    arity = FUNCTIONS[_known(function, FUNCTIONS, "function")].arity
    if len(arguments) != arity:
        raise ValueError(f"{function} takes {arity} argument(s), not {len(arguments)}")
    if function == "pow" and not isinstance(arguments[1], Const):
        raise ValueError("an exponent is a number")
    return apply(function, *arguments)


def _reduced(reduction: Any, row: Expr, size: str) -> Expr:
    if not within(size, row.size):
        raise ValueError(f"a row of size {row.size!r} is not reduced to {size!r}")
    return reduce(_known(reduction, get_args(Reduction), "reduction"), row, size)


def _details(kind: Arrangement, rows: int, details: Sequence[Any]) -> tuple[Any, ...]:
    """What is fixed of an arrangement: raise unless it is of the right kind."""
    if kind in ("part", "cat"):
        if len(details) != (2 if kind == "part" else rows):
            raise ValueError(f"{kind} of {rows} row(s) does not begin at {details!r}")
        return tuple(map(checked, map(_text, details)))
    if kind == "rename":
        (places,) = details
        return (tuple(map(_whole, places)),)
    if kind in ("take", "index_add"):
        (index,) = details
        if not index or any(_whole(i) < 0 for i in index):
            raise ValueError("an index counts units from 0")
        return (tuple(index),)
    if len(details) != (kind != "flip"):
        raise ValueError(f"{kind} does not take {details!r}")
    return tuple(map(_flag if kind == "cumsum" else _whole, details))


def _start(parameter: Parameter) -> float | str | None:
    """How a parameter starts."""
    return "numbers" if isinstance(parameter.init, Start) else parameter.init


def _parameter(
    name: Any, blocks: Any, rows: Any, cols: Any, start: Any = None, learned: Any = True, *per: Any
) -> Parameter:
    init = LOST if start == "numbers" else None if start is None else _number(start)
    return Parameter(
        _name(name),
        tuple(map(_name, blocks)),
        tuple(map(_size, rows)),
        None if cols is None else _size(cols),
        init,
        _flag(learned),
        *map(_name, per),
    )


# ---- what may stand in a place -------------------------------------------------------------------


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError("a text is expected")
    return given


def _name(given: Any) -> str:
    if not _text(given).isidentifier():
        raise ValueError(f"{given!r} is no name")
    return str(given)


def _path(given: Any) -> str:
    """A name, or several with dots in between: the value `f.pre`, the learned row `bias_ih.f`."""
    return ".".join(map(_name, _text(given).split(".")))


def _size(given: Any) -> str:
    size = checked(_text(given))
    if size != given:
        raise ValueError(f"a size is written {size!r}, not {given!r}")
    return size


def _flag(given: Any) -> bool:
    return bool(_known(given, (True, False), "flag"))


def _whole(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError("a whole number is expected")
    return given


def _number(given: Any) -> int | float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ValueError("a finite number is expected")
    return given


def _probability(given: Any) -> float:
    if not 0 <= _number(given) <= 1:
        raise ValueError("a probability is expected")
    return float(given)


def _at(nodes: Sequence[Expr], number: Any) -> Expr:
    if not isinstance(number, int) or number < 0:
        raise TypeError("the number of an expression is expected")
    return nodes[number]


def _symbol(nodes: Sequence[Expr], number: Any, *roles: Role) -> Symbol:
    node = _at(nodes, number)
    if not isinstance(node, Symbol) or node.role not in roles:
        raise ValueError(f"{node} is no symbol of the role {' or '.join(roles)}")
    return node


def _known(word: Any, words: Container[Any], what: str) -> Any:
    """The word; raise unless it is one of these."""
    if word not in words:
        raise ValueError(f"there is no {what} {word!r}")
    return word


# ---- what must fit together ----------------------------------------------------------------------


def _check(cell: Cell) -> None:
    """Raise unless all that the equations read is there, and what they give has its size."""
    rows = (*cell.inputs, *cell.states, *(n.symbol for n in cell.noises))
    _check_unlike([row.name for row in rows])
    _check_unlike([p.name for p in cell.parameters])
    shapes: dict[tuple[str, str], Shape] = {}
    for p in cell.parameters:
        _check_unlike(p.blocks)
        shapes |= {(p.name, b): (r, p.cols, p.per) for b, r in zip(p.blocks, p.rows, strict=True)}
    for node in postorder(cell.named_values()):
        if not _is_there(node, rows, shapes):
            raise ValueError("it reads something that is not there")
    if not cell.states:
        raise ValueError("it has no state")
    for state, value in zip(cell.states, cell.next_states, strict=True):
        if value.size != state.size:
            raise ValueError(f"the new {state.name} is not of the state's size")
    for drop in cell.weight_drops:
        for block in drop.blocks:
            _known((drop.parameter, block), shapes, "weight")


def _check_unlike(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError("a name stands twice")


def _is_there(node: Expr, rows: Container[Expr], shapes: Mapping[tuple[str, str], Shape]) -> bool:
    if isinstance(node, Product):
        m = node.matrix
        return shapes.get(block_of(m)) == (m.rows, m.width, m.per)
    if isinstance(node, Symbol) and node.role == "parameter":
        return shapes.get(block_of(node)) == (node.size, None, None)
    return not isinstance(node, Symbol) or node in rows
