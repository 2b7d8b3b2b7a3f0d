"""The fixed list of ways in which a line of code is broken.

Each operator looks at one node of a syntax tree and gives the broken nodes that could stand in its
place. What only words a message, annotates a type or documents is left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def comparison(node: ast.AST) -> Iterator[ast.AST]:
    """`<` for `<=`, `==` for `!=`, `is` for `is not`, `in` for `not in`, and back."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield ast.Compare(
            node.left, [COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators
        )


def arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    """`+` for `-`, `*` for `+`, `|` for `&`."""
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)


def logic(node: ast.AST) -> Iterator[ast.AST]:
    """`and` for `or`, and `not` left out."""
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def constant(node: ast.AST) -> Iterator[ast.AST]:
    """Another number; `True` for `False`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)


def condition(node: ast.AST) -> Iterator[ast.AST]:
    """A branch that is never taken, or always."""
    if isinstance(node, ast.If | ast.IfExp):
        for value in (True, False):
            broken = deepcopy(node)
            broken.test = ast.Constant(value)
            yield broken


def statement(node: ast.AST) -> Iterator[ast.AST]:
    """A call whose result nobody uses, or an assignment in place, left out."""
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass()


def element(node: ast.AST) -> Iterator[ast.AST]:
    """A tuple without one of its parts: what a key forgets."""
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) > 2:
        for k in range(len(node.elts)):
            yield ast.Tuple(node.elts[:k] + node.elts[k + 1 :], ast.Load())


OPERATORS: tuple[Callable[[ast.AST], Iterator[ast.AST]], ...] = (
    comparison, arithmetic, logic, constant, condition, statement, element,
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One broken place.

    Attributes:
        line: Where it stands in the file, from 1.
        operator: What broke it.
        before: The code as it was.
        after: The code as it is now.
        source: The whole broken file.
    """

    line: int
    operator: str
    before: str
    after: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every way of breaking one place of a file."""
    tree = ast.parse(source)
    found = []
    for holder, field, index, node in _places(tree):
        for operator in OPERATORS:
            for broken in operator(node):
                _put(holder, field, index, ast.copy_location(broken, node))
                whole = ast.unparse(ast.fix_missing_locations(tree))
                before, after = _first_lines(node, broken)
                found.append(Mutant(node.lineno, operator.__name__, before, after, whole))
                _put(holder, field, index, node)
    return found


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node that may be broken: its holder, the field it stands in, its place in a list."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _words(child):
                continue
            if hasattr(child, "lineno"):
                yield node, field, index, child
            yield from _places(child)


def _words(node: ast.AST) -> bool:
    """Whether a node only speaks: messages, docstrings, types."""
    if isinstance(node, ast.FunctionDef) and node.name in ("__repr__", "__str__"):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return documents or isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.ImportFrom)


def _put(holder: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(holder, field, node)
    else:
        getattr(holder, field)[index] = node


def _first_lines(node: ast.AST, broken: ast.AST) -> tuple[str, str]:
    before, after = (ast.unparse(ast.fix_missing_locations(n)) for n in (node, broken))
    return before.splitlines()[0][:70], after.splitlines()[0][:70]
