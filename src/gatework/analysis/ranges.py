"""Between which numbers a value lies: interval arithmetic on expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Reduce,
    apply,
    postorder,
)
from gatework.lang.functions import FUNCTIONS
from gatework.lang.sizes import together


class Range(NamedTuple):
    """The numbers from `low` to `high`, which may be infinite."""

    low: float
    high: float


ANY = Range(-math.inf, math.inf)
POSITIVE = Range(0.0, math.inf)
_LIMITS = {  # of the growing functions, where their argument goes to -∞ and to ∞
    "sigmoid": Range(0.0, 1.0),
    "hardsigmoid": Range(0.0, 1.0),
    "tanh": Range(-1.0, 1.0),
    "relu": POSITIVE,
    "softplus": POSITIVE,
    "exp": POSITIVE,
    "expm1": Range(-1.0, math.inf),
    "log": ANY,
    "log1p": ANY,
    "sqrt": POSITIVE,
    "sign": Range(-1.0, 1.0),
    "floor": ANY,
    "atan": Range(-math.pi / 2, math.pi / 2),
    "erf": Range(-1.0, 1.0),
}


def ranges(roots: Iterable[Expr], known: Mapping[Expr, Range]) -> dict[Expr, Range]:
    """A range that holds every value of each expression, for the roots and all they are made of.

    Args:
        roots: The expressions.
        known: The ranges of some expressions; other rows from outside may be any number.

    Example:
        >>> from gatework.lang.expressions import apply, symbol
        >>> gate = apply("sigmoid", symbol("x", "sequence", "input"))
        >>> ranges([1 - gate], {})[1 - gate]
        Range(low=0.0, high=1.0)
    """
    found: dict[Expr, Range] = dict(known)
    for node in postorder(roots):
        if node not in found:
            found[node] = _range(node, tuple(found[a] for a in node.args))
    return found


def _range(node: Expr, args: tuple[Range, ...]) -> Range:
    if isinstance(node, Const):
        return Range(node.value, node.value)
    if isinstance(node, Count):
        return Range(1.0, math.inf)
    if isinstance(node, Reduce):
        return args[0] if node.function == "max" else _times_any_count(args[0])
    if isinstance(node, Arrange):
        return _arranged(node, args)
    if not isinstance(node, Apply):
        return ANY
    if node.function in _LIMITS:
        return _growing(node.function, args[0])
    rule = _RULES.get(node.function)
    return rule(node, *args) if rule else ANY


def _times_any_count(a: Range) -> Range:
    return Range(a.low if a.low >= 0 else -math.inf, a.high if a.high <= 0 else math.inf)


def _arranged(node: Arrange, rows: tuple[Range, ...]) -> Range:
    """That of all rows together, and of what is added up or left out."""
    zeros = node.kind in ("shift", "index_add")
    if node.kind == "cat":
        zeros = together(map(node.length, node.args)) != node.length()
    whole = [*rows, Range(0.0, 0.0)] if zeros else rows
    found = Range(min(r.low for r in whole), max(r.high for r in whole))
    return _times_any_count(found) if node.kind in ("cumsum", "index_add") else found


def _growing(function: str, a: Range) -> Range:
    limits = _LIMITS[function]

    def at(v: float, limit: float) -> float:
        if math.isinf(v):
            return limits.low if v < 0 else limits.high
        try:
            return FUNCTIONS[function].compute(v)
        except (ArithmeticError, ValueError):
            return limit

    return Range(at(a.low, limits.low), at(a.high, limits.high))


def _mul(node: Apply, a: Range, b: Range) -> Range:
    if node.args[0] is node.args[1]:
        return _square(a)
    # 0 · ∞ is 0 here: the factor 0 is exact, and no value is infinite
    corners = [p * q if p and q else 0.0 for p in a for q in b]
    return Range(min(corners), max(corners))


def _square(a: Range) -> Range:
    low, high = sorted((a.low * a.low, a.high * a.high))
    return Range(0.0 if a.low < 0 < a.high else low, high)


def _div(node: Apply, a: Range, b: Range) -> Range:
    if node.args[0] is node.args[1]:
        return Range(1.0, 1.0)
    if b.low <= 0 <= b.high:
        return ANY
    return _mul(node, a, Range(1 / b.high, 1 / b.low))


def _add(node: Apply, a: Range, b: Range) -> Range:
    """The sum; where it is v + (1 - v) w with v between 0 and 1, it is between 1 and w."""
    high, (first, second) = a.high + b.high, node.args
    for v, share, other, its in ((first, a, second, b), (second, b, first, a)):
        rest = apply("sub", 1, v)
        if other is rest:
            return Range(1.0, 1.0)
        if share.low >= 0 and share.high <= 1 and _has_factor(other, rest):
            high = min(high, max(1.0, its.high))
    return Range(a.low + b.low, high)


def _has_factor(value: Expr, factor: Expr) -> bool:
    return isinstance(value, Apply) and value.function == "mul" and factor in value.args


def _sub(node: Apply, a: Range, b: Range) -> Range:
    other = node.args[1]
    high = a.high - b.low
    if isinstance(other, Apply) and other.function == "maximum" and node.args[0] in other.args:
        high = min(high, 0.0)  # a - max(a, b)
    return Range(a.low - b.high, high)


def _where(node: Apply, condition: Range, a: Range, b: Range) -> Range:
    """Either of two values; in where(v < low, low, v) the second is at least `low`."""
    test, second = node.args[0], node.args[2]
    if isinstance(test, Apply) and test.function == "lt":
        smaller, larger = test.args
        if second is smaller:
            b = Range(max(b.low, _number(larger, -math.inf)), b.high)
        elif second is larger:
            b = Range(b.low, min(b.high, _number(smaller, math.inf)))
    return Range(min(a.low, b.low), max(a.high, b.high))


def _number(node: Expr, otherwise: float) -> float:
    return node.value if isinstance(node, Const) else otherwise


def _pow(node: Apply, a: Range, b: Range) -> Range:
    if b.low == b.high and b.low > 0 and b.low % 2 == 0:
        return _square(a) if b.low == 2 else POSITIVE
    if b.low == b.high and b.low > 0 and 0 <= a.low <= a.high <= 1:
        return Range(0.0, 1.0)
    return POSITIVE if a.low >= 0 else ANY


_RULES: dict[str, Callable[..., Range]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": lambda node, a: Range(-a.high, -a.low),
    "pow": _pow,
    "where": _where,
    "lt": lambda node, a, b: Range(0.0, 1.0),
    "le": lambda node, a, b: Range(0.0, 1.0),
    "minimum": lambda node, a, b: Range(min(a.low, b.low), min(a.high, b.high)),
    "maximum": lambda node, a, b: Range(max(a.low, b.low), max(a.high, b.high)),
    "clamp_min": lambda node, a, b: Range(max(a.low, b.low), max(a.high, b.high)),
    "clamp_max": lambda node, a, b: Range(min(a.low, b.low), min(a.high, b.high)),
    "stop": lambda node, a: a,
    "surrogate": lambda node, value, v, slope: value,
    "abs": lambda node, a: POSITIVE,
    "sin": lambda node, a: Range(-1.0, 1.0),
    "cos": lambda node, a: Range(-1.0, 1.0),
}
