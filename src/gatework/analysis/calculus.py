"""The derivative of each function of the language, and what is built of them.

RULES       ∂L/∂(each argument) of a function, from ∂L/∂(its result): reverse mode's step
passed_on   the same, with what a branch that is not taken contributes: nothing
slope       ∂value/∂value, unit by unit: forward mode
own_slope   the same of what stays in its place
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatework.lang import sizes
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Expr,
    apply,
    const,
    expand,
    postorder,
    side_by_side,
)
from gatework.lang.functions import ByFunction

OWN, ELSEWHERE = "0", "elsewhere"
"""How far a unit is from where it was: not at all, or not to be said for all sizes."""

# ∂L/∂(each argument), from g = ∂L/∂result, the result y and the arguments.
Rule = Callable[..., tuple[Expr | None, ...]]


def _where(condition: Expr, a: Expr | float, b: Expr | float) -> Expr:
    return apply("where", condition, a, b)


def _unless(low: Expr, high: Expr, g: Expr) -> Expr:
    """The gradient g of an argument that is not taken where low < high.

    Of equal ones each gets one half, and beside NaN both get all of it, as torch has it.
    """
    return _where(low < high, 0, _where(low <= high, g * 0.5, g))


RULES: ByFunction[Rule] = ByFunction(
    {
        "add": lambda g, y, a, b: (g, g),
        "sub": lambda g, y, a, b: (g, -g),
        "mul": lambda g, y, a, b: (g * b, g * a),
        "div": lambda g, y, a, b: (g / b, -g * (y / b)),
        "neg": lambda g, y, a: (-g,),
        "pow": lambda g, y, a, n: (g * (n * a ** (n.value - 1)), None),
        "lt": lambda g, y, a, b: (None, None),
        "le": lambda g, y, a, b: (None, None),
        "where": lambda g, y, c, a, b: (None, _where(c, g, 0), _where(c, 0, g)),
        "minimum": lambda g, y, a, b: (_unless(b, a, g), _unless(a, b, g)),
        "maximum": lambda g, y, a, b: (_unless(a, b, g), _unless(b, a, g)),
        "clamp_min": lambda g, y, a, low: (_where(low <= a, g, 0), _where(a < low, g, 0)),
        "clamp_max": lambda g, y, a, high: (_where(a <= high, g, 0), _where(high < a, g, 0)),
        "abs": lambda g, y, a: (g * apply("sign", a),),
        "sign": lambda g, y, a: (None,),
        "floor": lambda g, y, a: (None,),
        "stop": lambda g, y, a: (None,),
        "surrogate": lambda g, y, value, v, slope: (g, g * slope, None),
        "relu": lambda g, y, a: (_where(y <= 0, 0, g),),
        "sqrt": lambda g, y, a: (g * 0.5 / y,),
        "exp": lambda g, y, a: (g * y,),
        "expm1": lambda g, y, a: (g * (y + 1),),
        "log": lambda g, y, a: (g / a,),
        "log1p": lambda g, y, a: (g / (1 + a),),
        "sin": lambda g, y, a: (g * apply("cos", a),),
        "cos": lambda g, y, a: (-g * apply("sin", a),),
        "atan": lambda g, y, a: (g / (1 + a * a),),
        "erf": lambda g, y, a: (g * (2 / math.sqrt(math.pi) * apply("exp", -a * a)),),
        "tanh": lambda g, y, a: (g * (1 - y * y),),
        "sigmoid": lambda g, y, a: (g * (y * (1 - y)),),
        "softplus": lambda g, y, a: (g * apply("sigmoid", a),),
        "hardsigmoid": lambda g, y, a: (_where(a > -3, _where(a < 3, g / 6, 0), 0),),
    },
    "derivative",
    "RULES of gatework/analysis/calculus.py",
)


def passed_on(node: Apply, g: Expr) -> tuple[Expr | None, ...]:
    """∂L/∂argument for each argument of a function, from g = ∂L/∂node.

    What is zero because a branch was not taken stays zero, whatever the derivatives on the way to
    it are: `where(c, g, 0)` goes around the rule of the function and is not multiplied with it.
    """
    if (branch := _branch(g)) is None:
        return RULES[node.function](g, node, *node.args)
    parts = passed_on(node, branch.value)
    return tuple(None if part is None else branch.of(part) for part in parts)


def added(first: Expr, second: Expr) -> Expr:
    """The sum of two gradients; those of the same branch stay in it, those of parts make a row."""
    one, other = _branch(first), _branch(second)
    if one and other and one.same_as(other):
        return one.of(added(one.value, other.value))
    *terms, last = first.args if isinstance(first, Apply) and first.function == "add" else (first,)
    joined = side_by_side(last, second)
    if joined is None:
        return first + second
    return terms[0] + joined if terms else joined


@dataclass(frozen=True)
class _Branch:
    """A value that is zero outside of one branch of a condition."""

    condition: Expr
    holds: bool  # whether it is the branch in which the condition holds
    value: Expr

    def of(self, value: Expr) -> Expr:
        """Another value in this branch."""
        return _where(self.condition, *((value, 0) if self.holds else (0, value)))

    def same_as(self, other: _Branch) -> bool:
        return self.condition is other.condition and self.holds == other.holds


def _branch(value: Expr) -> _Branch | None:
    """The branch outside of which a value is zero, if there is one."""
    if not isinstance(value, Apply) or value.function != "where":
        return None
    condition, *branches = value.args
    for holds, (taken, other) in ((True, branches), (False, branches[::-1])):
        if isinstance(other, Const) and other.value == 0:
            return _Branch(condition, holds, taken)
    return None


def slope(value: Expr, wrt: Expr, without: Container[Expr] = ()) -> Expr:
    """∂value/∂wrt unit by unit, by forward mode; no way leads through the nodes `without`.

    Nor through a matrix or a sum over units. Rows in other places are followed to where they go: a
    unit's slope is that of all that arrives at it. It lacks the axes along which it is the same.
    """
    total: Expr = const(0)
    for part in slopes(value, wrt, without).values():
        total = total + part
    return total


def own_slope(value: Expr, wrt: Expr, without: Container[Expr] = ()) -> Expr:
    """The same of what comes from a unit's own place; of all, where none stays in its place."""
    found = slopes(value, wrt, without)
    return found[OWN] if OWN in found else slope(value, wrt, without)


def slopes(value: Expr, wrt: Expr, without: Container[Expr] = ()) -> dict[str, Expr]:
    """∂value/∂wrt, the parts of it by how far units are from where they were; without those of 0.

    How far, as the number of an axis and a size, where parts are cut out and put together along
    one; `ELSEWHERE` else.
    """
    found: dict[Expr, dict[str, Expr]] = {wrt: {OWN: const(1)}}
    for node in postorder([value]):
        if node not in found:
            moved = [] if node in without else _slopes_of(node, [found[a] for a in node.args])
            found[node] = {}
            for place, part in moved:
                before = found[node].get(place)
                found[node][place] = part if before is None else before + part
    return {place: part for place, part in found[value].items() if not is_zero(part)}


def is_zero(value: Expr) -> bool:
    """Whether a value is the number 0."""
    return isinstance(value, Const) and value.value == 0


def keeps_units(node: Arrange) -> bool:
    """Whether rows are put into other places as they are, and not summed."""
    return node.kind not in ("cumsum", "index_add")


def _slopes_of(node: Expr, given: Sequence[Mapping[str, Expr]]) -> Iterator[tuple[str, Expr]]:
    """The slopes of a value by places, from those of its arguments."""
    for k, of_argument in enumerate(given):
        for place, own in of_argument.items():
            if is_zero(own):
                continue
            if isinstance(node, Arrange) and keeps_units(node):
                rows: list[Expr] = [const(0, a.size) for a in node.args]
                rows[k] = expand(own, node.args[k].size)
                yield _place_after(node, k, place), node.rebuilt(tuple(rows))
            elif isinstance(node, Apply):
                # a rule is linear in ∂L/∂result: given ∂argument, it gives that part of ∂result
                part = RULES[node.function](own, node, *node.args)[k]
                if part is not None:
                    yield place, part


def _place_after(node: Arrange, k: int, place: str) -> str:
    """How far the units of a row are from where they were, once it is arranged."""
    axis, _, far = (f"{node.axis} {OWN}" if place == OWN else place).partition(" ")
    if axis != str(node.axis) or node.kind not in ("part", "cat"):
        return ELSEWHERE
    start = node.details[k]
    far = sizes.without(far, start) if node.kind == "part" else sizes.together([far, start])
    return OWN if far == OWN else f"{axis} {far}"
