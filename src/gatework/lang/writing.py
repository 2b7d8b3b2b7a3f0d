"""A cell's equations as JSON text, and back: so a saved graph holds what it runs.

Every expression is one row, after the rows of its arguments, which it names by their numbers:

    ["const", 0.5, size]  ["count", size]  ["symbol", name, role, size]
    ["apply", function, [arguments]]  ["reduce", function, argument, size]
    ["arrange", kind, [arguments], details, size]
    ["product", [group, gate, rows, cols], argument, transposed]

Of a parameter that starts with numbers of its own the text says so, but not how they are found:
what is read back starts it at NaN, for the numbers to be loaded.

What is read back is built by the same functions as a traced cell, so it is checked and simplified
as one: the text can hold equations and nothing else.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, get_args

from gatework.lang.axes import SCALAR, within
from gatework.lang.definition import LOST, Cell, Noise, Parameter, Start
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


def cell_as_data(cell: Cell, names: Iterable[str] = ()) -> dict[str, Any]:
    """The equations of a cell as lists, strings and numbers; of its names only those given.

    Example:
        >>> from gatework import cells, equivalent
        >>> equivalent(cell_of_data(cell_as_data(cells.gru)), cells.gru)
        True
    """
    named = {n: cell.names[n] for n in names}
    noises = tuple(n.symbol for n in cell.noises)
    roots = (*cell.inputs, *cell.states, *noises, *cell.results(), *named.values())
    number = {node: k for k, node in enumerate(postorder(roots))}
    data = {
        "name": cell.name,
        "nodes": [_row(node, [number[a] for a in node.args]) for node in number],
        "input": number[cell.input],
        "states": [number[s] for s in cell.states],
        "next": [number[v] for v in cell.next_states],
        "output": None if cell.output is None else number[cell.output],
        "names": {n: number[v] for n, v in named.items()},
        "parameters": [
            [p.name, p.blocks, p.rows, p.cols, _start(p), p.learned] for p in cell.parameters
        ],
        "noises": [[number[n.symbol], n.probability] for n in cell.noises],
    }
    if cell.further:  # left out elsewhere: so the text of other cells is what it always was
        data["further"] = [number[s] for s in cell.further]
    return data


def cell_of_data(data: dict[str, Any]) -> Cell:
    """The cell that `cell_as_data` wrote.

    Raises:
        ValueError: If the data hold something else.
    """
    try:
        nodes = _nodes(data["nodes"])
        symbols = [nodes[k] for k in (data["input"], *data["states"])]
        further = tuple(nodes[k] for k in data.get("further", ()))
        noises = [(nodes[k], float(probability)) for k, probability in data["noises"]]
        output = data.get("output")  # not written before there was such a thing
        if not all(isinstance(s, Symbol) for s in (*symbols, *further, *(n for n, _ in noises))):
            raise ValueError("an input, a state or a noise is no symbol")
        return Cell(
            name=str(data["name"]),
            doc="",
            input=symbols[0],
            states=tuple(symbols[1:]),
            next_states=tuple(nodes[k] for k in data["next"]),
            names={str(n): nodes[k] for n, k in data["names"].items()},
            parameters=tuple(_parameter(*fields) for fields in data["parameters"]),
            noises=tuple(Noise(s, p) for s, p in noises),
            further=further,
            output=None if output is None else nodes[output],
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"these are not the equations of a cell: {error!r}") from error


def _start(parameter: Parameter) -> float | str | None:
    """How a parameter starts."""
    return "numbers" if isinstance(parameter.init, Start) else parameter.init


def _parameter(
    name: str,
    blocks: Sequence[str],
    rows: Sequence[str],
    cols: str | None,
    start: float | str | None = None,  # not written before they were kept
    learned: bool = True,
) -> Parameter:
    init = LOST if start == "numbers" else None if start is None else float(start)
    return Parameter(name, tuple(blocks), tuple(rows), cols, init, bool(learned))


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
        return ["arrange", node.kind, list(args), list(node.details), node.size]
    assert isinstance(node, Product)
    m = node.matrix
    return ["product", [m.group, m.gate, m.rows, m.cols], args[0], node.transposed]


def _nodes(rows: Iterable[Sequence[Any]]) -> list[Expr]:
    nodes: list[Expr] = []
    for kind, *fields in rows:
        nodes.append(_node(kind, fields, nodes))
    return nodes


def _known(word: Any, words: Container[Any], what: str) -> Any:
    """The word; raise unless it is one of these."""
    if word not in words:
        raise ValueError(f"there is no {what} {word!r}")
    return word


def _details(kind: Arrangement, rows: int, details: Sequence[Any]) -> tuple[Any, ...]:
    """What is fixed of an arrangement: raise unless it is of the right kind."""
    if kind in ("part", "cat"):
        if len(details) != (2 if kind == "part" else rows):
            raise ValueError(f"{kind} of {rows} row(s) does not begin at {details!r}")
        return tuple(map(checked, details))
    if kind in ("take", "index_add"):
        (index,) = details
        if not index or any(int(i) < 0 for i in index):
            raise ValueError("an index counts units from 0")
        return (tuple(map(int, index)),)
    if len(details) != (kind != "flip"):
        raise ValueError(f"{kind} does not take {details!r}")
    return tuple(map(bool if kind == "cumsum" else int, details))


def _node(kind: str, fields: Sequence[Any], before: Sequence[Expr]) -> Expr:
    if kind == "const":
        return const(float(fields[0]), str(fields[1]))
    if kind == "count":
        return count(str(fields[0]))
    if kind == "symbol":
        name, role, size = fields
        return symbol(str(name), _known(role, get_args(Role), "role"), str(size))
    if kind == "apply":
        function = _known(fields[0], FUNCTIONS, "function")
        return apply(function, *(before[k] for k in fields[1]))
    if kind == "reduce":
        row, size = before[fields[1]], str(fields[2]) if len(fields) > 2 else SCALAR
        if not within(size, row.size):
            raise ValueError(f"a row of size {row.size!r} is not reduced to {size!r}")
        return reduce(_known(fields[0], get_args(Reduction), "reduction"), row, size)
    if kind == "arrange":
        word, rows, details, size = fields
        known = _details(_known(word, get_args(Arrangement), "arrangement"), len(rows), details)
        return arrange(word, [before[k] for k in rows], known, checked(size))
    if kind == "product":
        matrix, row, transposed = fields
        return product(Matrix(*map(str, matrix)), before[row], bool(transposed))
    raise ValueError(f"there is no kind of expression {kind!r}")
