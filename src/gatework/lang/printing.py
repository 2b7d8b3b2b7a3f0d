"""Expressions as people write them: plain text and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from gatework.lang.cell import Cell
from gatework.lang.expressions import (
    Apply,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Symbol,
    postorder,
)

SUM, TERM, UNARY, ATOM = 1, 2, 3, 4  # how tightly an expression binds

_INFIX = {
    "add": (" + ", SUM),
    "sub": (" - ", SUM),
    "mul": (" * ", TERM),
    "div": (" / ", TERM),
    "lt": (" < ", 0),
    "le": (" <= ", 0),
}


class Text:
    """How leaves and functions are written in plain text, close to the source of a cell."""

    infix: ClassVar[Mapping[str, tuple[str, int]]] = _INFIX

    def symbol(self, name: str) -> str:
        """A row by its name."""
        return name

    def const(self, value: float) -> str:
        """A number."""
        return f"{value:g}"

    def product(self, node: Product, row: str) -> str:
        """A matrix times a row."""
        matrix = f"W_{node.matrix.group}[{node.matrix.gate}]"
        return f"{matrix}{'ᵀ' if node.transposed else ''}·{row}"

    def call(self, function: str, args: list[str]) -> str:
        """A function of its arguments."""
        return f"{function}({', '.join(args)})"


class LaTeX(Text):
    """How they are written in LaTeX, as in a paper."""

    infix: ClassVar[Mapping[str, tuple[str, int]]] = {
        **_INFIX,
        "mul": (r" \odot ", TERM),
        "div": (r" \oslash ", TERM),
        "le": (r" \le ", 0),
    }

    def symbol(self, name: str) -> str:
        """A row by its name: the part before `_` is the letter, the rest its index."""
        if name.endswith("'"):
            return f"{self.symbol(name[:-1])}_t"
        stem, _, index = name.replace(".", "_").partition("_")
        letter = stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
        return f"{letter}_{{{index.replace('_', ' ')}}}" if index else letter

    def product(self, node: Product, row: str) -> str:
        """A matrix times a row."""
        mark = r"^{\top}" if node.transposed else ""
        return rf"W^{{{node.matrix.group}}}_{{{node.matrix.gate}}}{mark} {row}"

    def call(self, function: str, args: list[str]) -> str:
        """A function of its arguments."""
        name = {
            "sigmoid": r"\sigma",
            "sum": r"\textstyle\sum",
            "tanh": r"\tanh",
            "exp": r"\exp",
            "log": r"\log",
            "sin": r"\sin",
            "cos": r"\cos",
            "max": r"\max",
        }.get(function, rf"\operatorname{{{function.replace('_', '')}}}")
        return rf"{name}\left({', '.join(args)}\right)"


def text(value: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """One expression in plain text; named parts are written by their names."""
    return _write(value, Text(), names or {})[0]


def latex(value: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """One expression in LaTeX; named parts are written by their names."""
    return _write(value, LaTeX(), names or {})[0]


def _write(value: Expr, style: Text, names: Mapping[Expr, str]) -> tuple[str, int]:
    """The text of an expression and how tightly it binds."""
    if value in names:
        return style.symbol(names[value]), ATOM
    if isinstance(value, Const):
        return style.const(value.value), ATOM if value.value >= 0 else UNARY
    if isinstance(value, Count):
        return style.call("count", [value.of]), ATOM
    if isinstance(value, Symbol):
        return style.symbol(value.name), ATOM
    parts = [_write(a, style, names) for a in value.args]
    if isinstance(value, Product):
        return style.product(value, _wrapped(parts[0], ATOM)), UNARY
    if isinstance(value, Reduce):
        return style.call(value.function, [parts[0][0]]), ATOM
    assert isinstance(value, Apply)
    return _write_function(value.function, parts, style)


def _write_function(function: str, parts: list[tuple[str, int]], style: Text) -> tuple[str, int]:
    if function in style.infix:
        sign, level = style.infix[function]
        right = level + 1 if function in ("sub", "div") else level
        return f"{_wrapped(parts[0], level)}{sign}{_wrapped(parts[1], right)}", level
    if function == "neg":
        return f"-{_wrapped(parts[0], UNARY)}", UNARY
    if function == "pow":
        return f"{_wrapped(parts[0], ATOM)}^{parts[1][0]}", UNARY
    return style.call(function, [p[0] for p in parts]), ATOM


def _wrapped(part: tuple[str, int], level: int) -> str:
    return part[0] if part[1] >= level else f"({part[0]})"


def equations(cell: Cell, *, as_latex: bool = False) -> list[str]:
    """The cell's equations, one a line: each named value, then the new states.

    Args:
        cell: The cell.
        as_latex: Write LaTeX, with the names of the new states indexed by t.
    """
    states = {f"{s.name}'": v for s, v in zip(cell.states, cell.next_states, strict=True)}
    ordered = _in_order({**cell.gates(), **states})
    return definitions(ordered, LaTeX() if as_latex else Text())


def definitions(lines: Iterable[tuple[str, Expr]], style: Text | None = None) -> list[str]:
    """`name = expression` for each pair, with earlier and shared names used in later lines."""
    style = style or Text()
    pairs = [(n, v) for n, v in lines]
    names: dict[Expr, str] = {}
    for name, value in pairs:
        if value.args:
            names.setdefault(value, name)
    written = []
    for name, value in pairs:
        others = {v: n for v, n in names.items() if v is not value}
        written.append(f"{style.symbol(name)} = {_write(value, style, others)[0]}")
    return written


def _in_order(named: Mapping[str, Expr]) -> list[tuple[str, Expr]]:
    """Named values, each after those it is computed from."""
    position = {node: k for k, node in enumerate(postorder(named.values()))}
    return sorted(named.items(), key=lambda item: position[item[1]])
