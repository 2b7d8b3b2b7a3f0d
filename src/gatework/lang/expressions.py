"""Expressions: what a cell computes in one step, as an immutable graph.

Every expression stands for one row of numbers per sequence of the batch. Its `size` is the
name of the row's length: "input", "hidden", a name the cell chose, or "1" for a single number,
which is broadcast against any other size. A row may have several named axes: see `axes`.

Equal expressions are one object (they are hash-consed), so identity is equality, a common
subexpression is shared for free, and every graph is a directed acyclic graph. `apply`, `reduce`
and `product` are the only ways to build an inner node; they simplify as they build.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

from gatework.forking import brief_lock
from gatework.lang.axes import SCALAR, common, has_axes, joint, lacking, shown, within
from gatework.lang.functions import FUNCTIONS
from gatework.lang.misuse import BITS, Misused

Number = int | float

Role = Literal["sequence", "state", "constant", "parameter"]  # of a symbol: where it comes from
Reduction = Literal["sum", "max"]  # over the units of a row

tracing: ContextVar[bool] = ContextVar("tracing", default=False)  # is a cell being traced?


class Expr(Misused):
    """A node of the graph. Compared by identity; never changed after it is built."""

    __slots__ = ("__weakref__", "fields", "size")

    fields: tuple[Any, ...]
    size: str

    @property
    def args(self) -> tuple[Expr, ...]:
        """The expressions this one is computed from."""
        return ()

    def rebuilt(self, args: tuple[Expr, ...]) -> Expr:
        """The same operation on other arguments."""
        return self

    def __add__(self, other: Expr | Number) -> Expr:
        return apply("add", self, other)

    def __radd__(self, other: Number) -> Expr:
        return apply("add", other, self)

    def __sub__(self, other: Expr | Number) -> Expr:
        return apply("sub", self, other)

    def __rsub__(self, other: Number) -> Expr:
        return apply("sub", other, self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return apply("mul", self, other)

    def __rmul__(self, other: Number) -> Expr:
        return apply("mul", other, self)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return apply("div", self, other)

    def __rtruediv__(self, other: Number) -> Expr:
        return apply("div", other, self)

    def __neg__(self) -> Expr:
        return apply("neg", self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        return apply("abs", self)

    def __pow__(self, exponent: Number) -> Expr:
        if isinstance(exponent, Expr):
            raise TypeError("the exponent of ** must be a number; write exp(b * log(a)) for a ** b")
        return apply("pow", self, exponent)

    def __floordiv__(self, other: Expr | Number) -> Expr:
        return apply("floor", self / other)

    def __rfloordiv__(self, other: Number) -> Expr:
        return apply("floor", other / self)

    def __mod__(self, other: Expr | Number) -> Expr:
        return self - other * (self // other)

    def __rmod__(self, other: Number) -> Expr:
        return other - self * (other // self)

    def __and__(self, other: Expr | bool) -> Expr:
        return apply("mul", *_conditions("&", self, other))

    def __or__(self, other: Expr | bool) -> Expr:
        return apply("maximum", *_conditions("|", self, other))

    def __invert__(self) -> Expr:
        return 1 - _conditions("~", self)[0]

    def __floor__(self) -> Expr:
        return apply("floor", self)

    __rand__, __ror__ = __and__, __or__

    def __lt__(self, other: Expr | Number) -> Expr:
        return apply("lt", self, other)

    def __le__(self, other: Expr | Number) -> Expr:
        return apply("le", self, other)

    def __gt__(self, other: Expr | Number) -> Expr:
        return apply("lt", other, self)

    def __ge__(self, other: Expr | Number) -> Expr:
        return apply("le", other, self)

    def __eq__(self, other: object) -> bool:
        if self is not other and tracing.get():
            raise TypeError("a cell's values have no number yet, so == cannot compare them")
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: Any) -> Expr:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _intern, (type(self), self.fields, self.size)

    def __repr__(self) -> str:
        from gatework.lang.printing import text  # printing stands on this module

        return text(self)


class Const(Expr):
    """A number, the same for every unit."""

    __slots__ = ()

    @property
    def value(self) -> float:
        """The number."""
        return float(self.fields[0])


class Count(Expr):
    """How many units a size has: known once a layer is built."""

    __slots__ = ()

    @property
    def of(self) -> str:
        """The name of the counted size."""
        return str(self.fields[0])


class Symbol(Expr):
    """A named row that comes from outside the step.

    Roles: "sequence" (another row at each step), "state" (carried from step to step),
    "constant" (one row per sequence, the same at each step), "parameter" (one row for all).
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """What the row is called."""
        return str(self.fields[0])

    @property
    def role(self) -> Role:
        """Where the row comes from: sequence, state, constant or parameter."""
        return self.fields[1]  # type: ignore[no-any-return]


class Apply(Expr):
    """A function of the language, unit by unit."""

    __slots__ = ()

    @property
    def function(self) -> str:
        """The function's name, a key of FUNCTIONS."""
        return str(self.fields[0])

    @property
    def args(self) -> tuple[Expr, ...]:
        """The function's arguments."""
        return self.fields[1]  # type: ignore[no-any-return]

    def rebuilt(self, args: tuple[Expr, ...]) -> Expr:
        """The same function of other arguments."""
        return apply(self.function, *args)


class Reduce(Expr):
    """The sum or the maximum over the units of a row, or over those axes that its size lacks."""

    __slots__ = ()

    @property
    def function(self) -> Reduction:
        """Either "sum" or "max"."""
        return self.fields[0]  # type: ignore[no-any-return]

    @property
    def args(self) -> tuple[Expr, ...]:
        """The reduced row."""
        return (self.fields[1],)

    def rebuilt(self, args: tuple[Expr, ...]) -> Expr:
        """The same reduction of another row."""
        return reduce(self.function, args[0], self.size)


@dataclass(frozen=True)
class Matrix:
    """One gate's block of rows in the stacked weight of a group: "i" in `weight_ih`.

    `rows` and `cols` are names of sizes.
    """

    group: str
    gate: str
    rows: str
    cols: str


class Product(Expr):
    """A matrix times a row: W v, or Wᵀ v when `transposed`."""

    __slots__ = ()

    @property
    def matrix(self) -> Matrix:
        """The matrix W."""
        return self.fields[0]  # type: ignore[no-any-return]

    @property
    def args(self) -> tuple[Expr, ...]:
        """The row v."""
        return (self.fields[1],)

    @property
    def transposed(self) -> bool:
        """Whether the product is with Wᵀ."""
        return bool(self.fields[2])

    def rebuilt(self, args: tuple[Expr, ...]) -> Expr:
        """The same matrix times another row."""
        return product(self.matrix, args[0], self.transposed)


# ---- building ----------------------------------------------------------------------------------

_nodes: WeakValueDictionary[tuple[Any, ...], Expr] = WeakValueDictionary()
_lock = brief_lock()


E = TypeVar("E", bound=Expr)


def _intern(kind: type[E], fields: tuple[Any, ...], size: str) -> E:
    """The one node with these fields."""
    key = (kind, fields, size)
    with _lock:
        node = _nodes.get(key)
        if node is None:
            node = object.__new__(kind)
            node.fields, node.size = fields, size
            _nodes[key] = node
    return node  # type: ignore[return-value]


def const(value: Number, size: str = SCALAR) -> Const:
    """A number as an expression."""
    return _intern(Const, (float(value) + 0.0,), size)  # one zero: -0.0 is equal to it


def count(size: str) -> Expr:
    """The number of units of a size."""
    return const(1.0) if size == SCALAR else _intern(Count, (size,), SCALAR)


def symbol(name: str, role: Role, size: str) -> Symbol:
    """A named row from outside the step."""
    return _intern(Symbol, (name, role), size)


def as_expr(value: Any) -> Expr:
    """A value of a cell, or a number, as an expression."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Real) and not isinstance(value, bool):
        return const(finite("a number in a cell", value))
    raise TypeError(
        f"expected a value of the cell or a number, got {type(value).__name__}; "
        "a learned value is made by vector(name) or scalar(name), a known row by "
        "vector(name, init, learned=False)"
    )


def finite(what: str, number: Any, largest: float = sys.float_info.max) -> float:
    """A number as a float.

    Raises:
        ValueError: If it is not finite, or larger than the largest finite one.
    """
    with suppress(OverflowError):
        found = float(number)
        if abs(found) <= largest:
            return found
    long = isinstance(number, int) and number.bit_length() > 1024  # Python may refuse to write it
    raise ValueError(f"{what} must be finite, got {'a larger int' if long else number}")


def joint_size(args: Iterable[Expr]) -> str:
    """The size of a unit-by-unit function's result."""
    sizes = {a.size for a in args}
    found = joint(sizes)
    if found is None:
        raise ValueError(
            f"values of the sizes {' and '.join(map(shown, sorted(sizes - {SCALAR})))} cannot be "
            "combined unit by unit; map one of them with linear(name, v)"
        )
    return found


def apply(function: str, *args: Expr | Number) -> Expr:
    """A function of the language on its arguments, simplified.

    >>> x = symbol("x", "sequence", "input")
    >>> apply("mul", 1, apply("add", x, 0)) is x
    True
    """
    operands = tuple(as_expr(a) for a in args)
    size = joint_size(operands)
    simpler = _simplified(function, operands, size)
    return _intern(Apply, (function, operands), size) if simpler is None else simpler


def reduce(function: Reduction, row: Expr, size: str = SCALAR) -> Expr:
    """The sum or maximum over the units of a row, or over some of its axes, simplified.

    Args:
        function: Which of the two.
        row: The row.
        size: That of the result, which has some of the row's axes.

    >>> v = symbol("x", "sequence", "input")
    >>> reduce("sum", 2 * (v - reduce("sum", v) / count("input")))
    0
    """
    row = as_expr(row)
    if row.size == size:
        return row
    if isinstance(row, Const):
        value = const(row.value, size)
        return value * count(lacking(row.size, size)) if function == "sum" else value
    if function == "sum":
        simpler = _sum(row, size)
        if simpler is not None:
            return simpler
    return _intern(Reduce, (function, row), size)


def product(matrix: Matrix, row: Expr, transposed: bool = False) -> Expr:
    """A matrix, or its transpose, times a row."""
    expected, size = (matrix.rows, matrix.cols) if transposed else (matrix.cols, matrix.rows)
    if row.size != expected:
        raise ValueError(f"{matrix} expects a row of size {shown(expected)}, got {shown(row.size)}")
    if _is(row, 0):
        return const(0, size)
    return _intern(Product, (matrix, row, transposed), size)


def expand(value: Expr, size: str) -> Expr:
    """A single number repeated for every unit of `size`."""
    return value if value.size == size else apply("mul", const(1, size), value)


def _conditions(sign: str, *values: Expr | bool) -> tuple[Expr, ...]:
    """Conditions as 1 where they hold and 0 elsewhere; anything else is refused."""
    found = tuple(const(v) if isinstance(v, bool) else as_expr(v) for v in values)
    if all(map(_is_condition, found)):
        return found
    raise TypeError(BITS.format(sign))


def _is_condition(value: Expr) -> bool:
    if isinstance(value, Const):
        return value.value in (0.0, 1.0)
    if not isinstance(value, Apply) or value.function not in ("lt", "le", "mul", "maximum", "sub"):
        return False
    return value.function in ("lt", "le") or all(map(_is_condition, value.args))


# ---- simplifying -------------------------------------------------------------------------------


def _is(value: Expr, number: float) -> bool:
    return isinstance(value, Const) and value.value == number


def _simplified(function: str, args: tuple[Expr, ...], size: str) -> Expr | None:
    """A simpler expression with the same value for finite arguments, or None."""
    if all(isinstance(a, Const) for a in args):
        folded = _folded(function, args)
        if folded is not None:
            return const(folded, size)
    rule = _RULES.get(function)
    simpler = rule(*args) if rule else None
    if simpler is None:
        return None
    if isinstance(simpler, Const):
        return const(simpler.value, size)
    return simpler if simpler.size == size else None  # else it still has to be broadcast


def _folded(function: str, args: tuple[Expr, ...]) -> float | None:
    try:
        value = FUNCTIONS[function].compute(*(a.value for a in args if isinstance(a, Const)))
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _add(a: Expr, b: Expr) -> Expr | None:
    if _is(a, 0):
        return b
    if isinstance(b, Apply) and b.function == "neg":
        return a - b.args[0]
    return a if _is(b, 0) else None


def _sub(a: Expr, b: Expr) -> Expr | None:
    if _is(b, 0):
        return a
    if a is b:
        return const(0)
    return -b if _is(a, 0) else None


def _mul(a: Expr, b: Expr) -> Expr | None:
    for one, other in ((a, b), (b, a)):
        if _is(one, 0):
            return one
        if _is(one, 1):
            return other
        if _is(one, -1):
            return -other
        if has_axes(one.size) and isinstance(one, Apply) and one.function == "mul":
            repeated, value = one.args
            if _is(repeated, 1) and joint((value.size, other.size)) == one.size:
                return value * other  # which repeats it as well
    return None


def _div(a: Expr, b: Expr) -> Expr | None:
    return a if _is(b, 1) or _is(a, 0) else None


def _neg(a: Expr) -> Expr | None:
    return a.args[0] if isinstance(a, Apply) and a.function == "neg" else None


def _pow(a: Expr, b: Expr) -> Expr | None:
    if _is(b, 0):
        return const(1)
    return a if _is(b, 1) else None


def _where(condition: Expr, a: Expr, b: Expr) -> Expr | None:
    if isinstance(condition, Const):
        return a if condition.value else b
    return a if a is b else None


def _sum(row: Expr, size: str) -> Expr | None:
    """A simpler sum: what is the same along it is a factor of it, what is centred adds 0."""
    if not isinstance(row, Apply):
        return None
    if row.function == "neg":
        return -reduce("sum", row.args[0], size)
    if row.function in ("mul", "div"):
        rest, factor = _split_factor(row, size)
        if factor is None:
            return None
        total = reduce("sum", rest, common(rest.size, size))
        return expand(apply(row.function, total, factor), size)
    if _adds_nothing(row, size):
        return const(0, size)
    if row.function == "add" and any(_adds_nothing(a, size) for a in row.args):
        return reduce("sum", row.args[0], size) + reduce("sum", row.args[1], size)
    return None


def _split_factor(row: Apply, size: str) -> tuple[Expr, Expr | None]:
    """A product or quotient as a row and what multiplies or divides it all along a sum."""
    a, b = row.args
    factor = _repeated(b, size)
    if factor is None and row.function == "mul":
        return b, _repeated(a, size)
    return a, factor


def _repeated(row: Expr, size: str) -> Expr | None:
    """The value within a size that a row repeats, if it is of that kind."""
    if within(row.size, size):
        return row
    if isinstance(row, Apply) and row.function == "mul" and _is(row.args[0], 1):
        return _repeated(row.args[1], size)
    return None


def _adds_nothing(row: Expr, size: str) -> bool:
    """Whether a row is v - mean(v), times what is the same along the sum."""
    if not isinstance(row, Apply):
        return False
    if row.function in ("mul", "div"):
        rest, factor = _split_factor(row, size)
        return factor is not None and _adds_nothing(rest, size)
    if row.function != "sub" or row.args[0].size != row.size:
        return False
    v, mean = row.args
    return mean is reduce("sum", v, size) / count(lacking(v.size, size))


_RULES: dict[str, Callable[..., Expr | None]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "pow": _pow,
    "where": _where,
}


# ---- walking -----------------------------------------------------------------------------------


def postorder(roots: Iterable[Expr], until: Container[Expr] = ()) -> Iterator[Expr]:
    """Every expression reachable from the roots, once, arguments before results.

    The arguments of an expression in `until` are not visited for its sake.
    """
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(tuple(roots))]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if node not in until:
                stack.extend((a, False) for a in reversed(node.args))


def substitute(roots: Iterable[Expr], replacements: Mapping[Expr, Expr]) -> tuple[Expr, ...]:
    """The roots with some expressions replaced, simplified again."""
    roots = tuple(roots)
    done: dict[Expr, Expr] = dict(replacements)
    for node in postorder(roots):
        if node not in done:
            done[node] = node.rebuilt(tuple(done[a] for a in node.args)) if node.args else node
    return tuple(done[r] for r in roots)
