"""Expressions as people write them: plain text and LaTeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import count
from typing import ClassVar

from gatework.lang.axes import SCALAR, has_axes, lacking, slots
from gatework.lang.axes import named as axes_at
from gatework.lang.definition import Cell
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Symbol,
    postorder,
)
from gatework.lang.sizes import together

SUM, TERM, UNARY, ATOM = 1, 2, 3, 4  # how tightly an expression binds
SHOWN = 6  # units of an index that are written out
GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
)  # fmt: skip
LONG = 2_000  # values that stand in one line, before what it uses several times has a name

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
    where: ClassVar[str] = " where "

    def symbol(self, name: str) -> str:
        """A row by its name."""
        return name

    def const(self, value: float) -> str:
        """A number."""
        return f"{value:g}"

    def product(self, node: Product, row: str) -> str:
        """A matrix times a row."""
        m = node.matrix
        within = [*([m.gate] if m.group != m.gate else []), *([f"per {m.per}"] if m.per else [])]
        matrix = f"W_{m.group}" + (f"[{', '.join(within)}]" if within else "")
        return f"{matrix}{'ᵀ' if node.transposed else ''}·{row}"

    def axis(self, name: str) -> str:
        """The name of an axis."""
        return name

    def call(self, function: str, args: list[str]) -> str:
        """A function of its arguments."""
        return f"{function}({', '.join(args)})"

    def power(self, base: str, exponent: str) -> str:
        """A row to the power of a number."""
        return f"{base}^{exponent}"

    def reduction(self, node: Reduce, row: str) -> str:
        """A sum or maximum over the units, or over the axes that are named."""
        return self.call(node.function, [row, *axes_of(node)])


class LaTeX(Text):
    """How they are written in LaTeX, as in a paper."""

    infix: ClassVar[Mapping[str, tuple[str, int]]] = {
        **_INFIX,
        "mul": (r" \odot ", TERM),
        "div": (r" \oslash ", TERM),
        "le": (r" \le ", 0),
    }
    where: ClassVar[str] = r" \quad\text{where}\quad "

    def symbol(self, name: str) -> str:
        """A row by its name: a letter and what stands below it, b^{group}_{gate}, or a word."""
        name, new = name.removesuffix("'"), name.endswith("'")
        stem, _, block = name.partition(".")
        if stem.startswith("bias_") and block:
            return f"b^{{{_word(stem.removeprefix('bias_'))}}}_{{{_word(block)}}}"
        letter, below = _letter_and_below(name)
        if not below:
            return f"{letter}_t" if new else letter
        return f"{letter}_{{{below}, t}}" if new else f"{letter}_{{{below}}}"

    def const(self, value: float) -> str:
        """A number."""
        mantissa, _, exponent = f"{value:g}".partition("e")
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa

    def product(self, node: Product, row: str) -> str:
        """A matrix times a row."""
        mark = r"^{\top}" if node.transposed else ""
        m = node.matrix
        above = "" if m.group == m.gate else f"^{{{_word(m.group)}}}"
        per = rf", \mathrm{{per\ {_escaped(m.per)}}}" if m.per else ""
        place = f"{above}_{{{_word(m.gate)}{per}}}"
        return f"W{place}{mark} {row}"

    def power(self, base: str, exponent: str) -> str:
        """A row to the power of a number."""
        return f"{base}^{{{exponent}}}"

    def axis(self, name: str) -> str:
        """The name of an axis."""
        return rf"\mathrm{{{_escaped(name)}}}"

    def reduction(self, node: Reduce, row: str) -> str:
        """A sum or maximum over the units, or over the axes that stand below it."""
        axes = axes_of(node)
        call = self.call(node.function, [row])
        below = rf"_{{\mathrm{{{', '.join(axes)}}}}}\left("
        return call.replace(r"\left(", below, 1) if axes else call

    def call(self, function: str, args: list[str]) -> str:
        """A function of its arguments."""
        if function == "count":
            return f"n_{{{' '.join(args)}}}"
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


def _letter_and_below(name: str) -> tuple[str, str]:
    """A letter, Latin or Greek, with what stands below it in LaTeX; or a whole word."""
    if name[1:].isdigit():
        return name[0], name[1:]
    stem, _, below = name.partition("_")
    if stem not in GREEK and len(stem) != 1:
        return rf"\mathrm{{{_escaped(name)}}}", ""
    upright = rf"\mathrm{{{_escaped(below)}}}" if len(below) > 1 else below
    return rf"\{stem}" if stem in GREEK else stem, upright


def _word(name: str) -> str:
    """A name above or below a letter: as it is, or upright where it has parts."""
    return rf"\mathrm{{{_escaped(name)}}}" if "_" in name else name


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def axes_of(node: Reduce) -> list[str]:
    """The axes over which is reduced, where the row has others or several."""
    row = node.args[0].size
    return [a for a in slots(lacking(row, node.size)) if a != SCALAR] if has_axes(row) else []


def text(value: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """One expression in plain text; named parts are written by their names."""
    return _in_one_line(value, Text(), names or {})


def latex(value: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """One expression in LaTeX; named parts are written by their names."""
    return _in_one_line(value, LaTeX(), names or {})


def _in_one_line(value: Expr, style: Text, names: Mapping[Expr, str]) -> str:
    """An expression, and behind it what it uses several times where it would be very long."""
    parts: dict[Expr, int] = {}
    for node in postorder([value], until=names):
        parts[node] = 1 if node in names else 1 + sum(parts[a] for a in node.args)
    if parts[value] <= LONG:
        return _write(value, style, names)[0]
    shared = used_often([value], names, until=names)
    free = (name for k in count() if (name := f"v{k}") not in names.values())
    known = {**names, **dict(zip(shared, free, strict=False))}
    lines = (_defined(known[v], v, style, known) for v in shared)
    return f"{_write(value, style, known, value)[0]}{style.where}{', '.join(lines)}"


def _write(
    value: Expr, style: Text, names: Mapping[Expr, str], opened: Expr | None = None
) -> tuple[str, int]:
    """The text of an expression and how tightly it binds; the opened one is not called by name."""
    if value in names and value is not opened:
        return style.symbol(names[value]), ATOM
    if isinstance(value, Const):
        return style.const(value.value), ATOM if value.value >= 0 else UNARY
    if isinstance(value, Count):
        return style.call("count", [axis for axis in slots(value.of) if axis != SCALAR]), ATOM
    if isinstance(value, Symbol):
        return style.symbol(value.name), ATOM
    parts = [_write(a, style, names) for a in value.args]
    if isinstance(value, Product):
        return style.product(value, _wrapped(parts[0], ATOM)), UNARY
    if isinstance(value, Reduce):
        return style.reduction(value, parts[0][0]), ATOM
    if isinstance(value, Arrange):
        return _write_arranged(value, parts, style), ATOM
    assert isinstance(value, Apply)
    return _write_function(value.function, parts, style)


def _write_arranged(value: Arrange, parts: list[tuple[str, int]], style: Text) -> str:
    """A part as v[2:5], rows side by side with 0 where none is, other words as they are called."""
    rows, axis = [p[0] for p in parts], value.axis_name()
    if value.kind == "rename":
        pairs = (f"{style.axis(old)}={style.axis(new)}" for old, new in value.renames())
        return style.call("rename", [*rows, *pairs])
    if value.kind == "part":
        start, end = value.details[0], together([value.details[0], value.length()])
        before = [k for k in axes_at(value.args[0].size) if k < value.axis]
        bounds = [":"] * len(before) + [f"{start if start != '0' else ''}:{end}"]
        return f"{_wrapped(parts[0], ATOM)}[{', '.join(bounds)}]"
    if value.kind != "cat":
        details = [_shortened(d) for d in value.details if d is not False]
        return style.call(value.kind, [*rows, *details, *([axis] if axis else [])])
    shown, at = [], "0"
    for row, arg, start in zip(rows, value.args, value.details, strict=True):
        shown += [row] if start == at else ["0", row]
        at = together([start, value.length(arg)])
    shown += [] if at == value.length() else ["0"]
    return style.call("cat", [*shown, *([axis] if axis else [])])


def _shortened(detail: object) -> str:
    if detail is True:
        return "backwards"
    if not isinstance(detail, tuple) or len(detail) <= SHOWN:
        return str(list(detail) if isinstance(detail, tuple) else detail)
    return f"[{', '.join(map(str, detail[:SHOWN]))}, …]"


def _write_function(function: str, parts: list[tuple[str, int]], style: Text) -> tuple[str, int]:
    if function in style.infix:
        sign, level = style.infix[function]
        right = level + 1 if function in ("sub", "div") else level
        return f"{_wrapped(parts[0], level)}{sign}{_wrapped(parts[1], right)}", level
    if function == "neg":
        return f"-{_wrapped(parts[0], UNARY)}", UNARY
    if function == "pow":
        return style.power(_wrapped(parts[0], ATOM), parts[1][0]), UNARY
    return style.call(function, [p[0] for p in parts]), ATOM


def _wrapped(part: tuple[str, int], level: int) -> str:
    return part[0] if part[1] >= level else f"({part[0]})"


def equations(cell: Cell, *, as_latex: bool = False) -> list[str]:
    """The cell's equations, one a line, each after those it reads; the new states are h', c', ….

    What is used more than once and has no name is called v0, v1, …

    Args:
        cell: The cell.
        as_latex: Write LaTeX, with the new states as h_t, c_t, ….
    """
    results = {f"{s.name}'": v for s, v in zip(cell.states, cell.next_states, strict=True)}
    if cell.output is not None:
        results = {cell.output_name: cell.output, **results}
    reached = set(postorder(cell.results()))
    gates = {n: v for n, v in cell.observables().items() if v in reached or not v.args}
    shared = used_often(cell.results(), {*gates.values(), *results.values()})
    ordered = _in_order([*gates.items(), *(("", v) for v in shared), *results.items()])
    numbers = count()
    named = [(name or f"v{next(numbers)}", value) for name, value in ordered]
    return definitions(named, LaTeX() if as_latex else Text())


def used_often(
    roots: Iterable[Expr], named: Container[Expr], until: Container[Expr] = ()
) -> list[Expr]:
    """What is computed from something, used more than once and not named, in order."""
    order = list(postorder(roots, until))
    uses = Counter(a for node in order for a in node.args if node not in until)
    return [n for n in order if n.args and uses[n] > 1 and n not in named]


def definitions(lines: Iterable[tuple[str, Expr]], style: Text | None = None) -> list[str]:
    """`name = expression` for each pair; what one line defines, the others call by its name."""
    style = style or Text()
    pairs = list(lines)
    names: dict[Expr, str] = {}
    for name, value in pairs:
        if value.args:
            names.setdefault(value, name)
    return [_defined(name, value, style, names) for name, value in pairs]


def _defined(name: str, value: Expr, style: Text, names: Mapping[Expr, str]) -> str:
    """A value by what it is made of, or by another name that it has."""
    opened = value if names.get(value) == name else None
    return f"{style.symbol(name)} = {_write(value, style, names, opened)[0]}"


def _in_order(named: Sequence[tuple[str, Expr]]) -> list[tuple[str, Expr]]:
    """Named values, each after those it is computed from."""
    position = {node: k for k, node in enumerate(postorder(v for _, v in named))}
    return sorted(named, key=lambda item: position[item[1]])
