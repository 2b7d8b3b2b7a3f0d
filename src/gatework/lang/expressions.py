"""Expressions: what a cell computes in one step, as an immutable graph.

Every expression stands for one row of numbers per sequence of the batch. Its `size` is the
name of the row's length: "input", "hidden", a name the cell chose, or "1" for a single number,
which is broadcast against any other size. A row may have several named axes: see `axes`.

Equal expressions are one object (they are hash-consed), so identity is equality, a common
subexpression is shared for free, and every graph is a directed acyclic graph. `apply`, `reduce`,
`arrange` and `product` are the only ways to build an inner node; they simplify as they build.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cmp_to_key
from numbers import Real
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

from gatework.forking import brief_lock
from gatework.lang.axes import (
    SCALAR,
    along,
    common,
    has_axes,
    joint,
    lacking,
    leads,
    named,
    of_each,
    places,
    replaced,
    shown,
    slots,
    within,
)
from gatework.lang.functions import FUNCTIONS
from gatework.lang.misuse import BITS, PARTS, Misused
from gatework.lang.sizes import fits, names_in, together, units, without

Number = int | float

Role = Literal["sequence", "state", "constant", "parameter"]  # of a symbol: where it comes from
Reduction = Literal["sum", "max"]  # over the units of a row
Arrangement = Literal[  # of whole rows: see `Arrange`
    "roll", "shift", "flip", "cumsum", "take", "index_add", "part", "cat", "rename"
]

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

    def __getitem__(self, units: Any) -> Expr:
        return _indexed(self, units)

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


class Arrange(Expr):
    """Whole rows with their units in other places, or summed in order: fixed, linear, no weights.

    Of rows with several axes that is done along one of them, alike for every index of the others.

    kind       details             value
    roll       how far             unit i comes to i + how far, around the ends
    shift      how far             the same, but zeros come in at the end that is left
    flip                           the last unit first
    cumsum     backwards           the sum of all units up to each, or of all from each on
    take       index               unit index[i] comes to i
    index_add  index               unit i is added to what is at index[i]
    part       start, whole        the units from start on; the row's parts add up to whole
    cat        where each begins   rows side by side, zeros where none is
    rename     which slot of the   the same numbers along other axes of the same lengths; -1 where
               row each slot was   the result has no axis
    """

    __slots__ = ()

    @property
    def kind(self) -> Arrangement:
        """What is done with the units."""
        return self.fields[0]  # type: ignore[no-any-return]

    @property
    def args(self) -> tuple[Expr, ...]:
        """The rows: one, or those that stand side by side."""
        return self.fields[1]  # type: ignore[no-any-return]

    @property
    def details(self) -> tuple[Any, ...]:
        """How far, from where, in which order: see above."""
        return self.fields[2]  # type: ignore[no-any-return]

    @property
    def axis(self) -> int:
        """The place of the axis in a size; 0 of rows that have one."""
        return int(self.fields[3])

    def length(self, row: Expr | None = None) -> str:
        """The size of the result along the axis, or that of a row."""
        return along((self if row is None else row).size, self.axis)

    def axis_name(self) -> str | None:
        """What the axis is called, where the rows have several and it is done along one."""
        if self.kind == "rename":
            return None
        one = self if self.kind == "cat" else self.args[0]
        names = sorted(names_in(self.length(one)))
        name = names[0] if len(names) == 1 else self.length(one)
        return name if len(named(one.size)) > 1 else None

    def rebuilt(self, args: tuple[Expr, ...]) -> Expr:
        """The same of other rows."""
        return arrange(self.kind, args, self.details, self.size, self.axis)

    def bounds(self) -> tuple[str, ...]:
        """The sizes by which it says where parts begin; "0" at the first unit."""
        return self.details if self.kind in ("part", "cat") else ()

    def renames(self) -> tuple[tuple[str, str], ...]:
        """The axes that are read along others: what each was called, and is."""
        if self.kind != "rename":
            return ()
        old, new = slots(self.args[0].size), slots(self.size)
        pairs = ((old[k], name) for k, name in zip(self.details[0], new, strict=True) if k >= 0)
        return tuple((a, b) for a, b in pairs if a != b)

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raise unless an index fits the numbers of units, and parts their rows.

        Raises:
            ValueError: If it does not.
        """
        new, old = self.length(), self.length(self.args[0])
        if self.kind in ("take", "index_add"):
            listed, reached = (new, old)[:: 1 if self.kind == "take" else -1]
            _check_index(self.details[0], listed, units(listed, sizes), units(reached, sizes))
        elif self.kind == "part":
            start, whole = self.details
            _check_room(old, sizes, [(new, start)])
            if units(whole, sizes) != units(old, sizes):
                raise ValueError(
                    f"a row of {units(old, sizes)} units ({old!r}) is split into parts "
                    f"of {units(whole, sizes)} together ({whole!r}); they should add up"
                )
        elif self.kind == "cat":
            _check_room(new, sizes, [(self.length(row), start) for row, start in _placed(self)])
        for old, new in self.renames():
            if units(old, sizes) != units(new, sizes):
                raise ValueError(
                    f"rename(v, {old}={new!r}) reads an axis of {units(old, sizes)} units as one "
                    f"of {units(new, sizes)}; give {old!r} and {new!r} the same length"
                )


@dataclass(frozen=True)
class Matrix:
    """One gate's block of rows in the stacked weight of a group: "i" in `weight_ih`.

    Attributes:
        group: The group.
        gate: The gate.
        rows: The size of what it gives.
        cols: The size of what it maps.
        per: The axis along which it is block-diagonal, the first of both sizes: what each index has
            is mapped by a matrix of its own. These lie one below the other, `width` wide each.
    """

    group: str
    gate: str
    rows: str
    cols: str
    per: str | None = None

    @property
    def height(self) -> str:
        """The size of what it gives, for each index of `per` where there is one."""
        return of_each(self.rows, self.per)

    @property
    def width(self) -> str:
        """How many columns it is stored with: those of each index of `per` where there is one."""
        return of_each(self.cols, self.per)

    def heads(self, sizes: Mapping[str, int]) -> int:
        """How many matrices it is of: one for each index of `per`."""
        return 1 if self.per is None else sizes[self.per]

    def weights(self, sizes: Mapping[str, int]) -> int:
        """How many numbers it has."""
        return sizes[self.rows] * sizes[self.width]


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
        f"expected a value of the cell or a number, got {type(value).__name__}; {_instead(value)}"
    )


def _instead(value: Any) -> str:
    """What to write where something is given that is neither a value nor a number."""
    if isinstance(value, list | tuple):
        return (
            "several values are given one by one, as in linear(name, x, h), are put side by side "
            "by cat([a, b]), and are added by +"
        )
    if isinstance(value, bool):
        return "what is known when the cell is written needs no where: a if condition else b"
    return (
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
    if matrix.per is not None and not all(leads(matrix.per, s) for s in (expected, size)):
        raise ValueError(f"{matrix} is block-diagonal along an axis that is not the first of both")
    if _is(row, 0):
        return const(0, size)
    return _intern(Product, (matrix, row, transposed), size)


def arrange(
    kind: Arrangement, rows: Iterable[Expr], details: tuple[Any, ...], size: str, axis: int = 0
) -> Expr:
    """Whole rows arranged as `Arrange` says, simplified.

    Args:
        kind: What is done.
        rows: The rows.
        details: How far, from where, in which order.
        size: That of the result.
        axis: The place of the axis along which it is done.

    >>> v = symbol("x", "sequence", "input")
    >>> arrange("flip", [arrange("flip", [v], (), "input")], (), "input") is v
    True
    """
    rows = tuple(map(as_expr, rows))
    if kind == "rename":
        (row,), (origins,) = rows, details
        return _renamed(row, origins, size)
    count = places([size, *(r.size for r in rows)])
    others = {replaced(s, axis, SCALAR, count) for s in (size, *(r.size for r in rows))}
    same = kind in ("roll", "shift", "flip", "cumsum")
    fitting = 0 <= axis < count and len(others) == 1 and (not same or rows[0].size == size)
    if not rows or (len(rows) > 1 and kind != "cat") or not fitting:
        raise ValueError(f"{kind} cannot make a row of size {size!r} of {len(rows)} row(s)")
    if all(_is(r, 0) for r in rows):
        return const(0, size)
    simpler = _ARRANGED[kind](rows, details, size, axis)
    return _intern(Arrange, (kind, rows, details, axis), size) if simpler is None else simpler


def side_by_side(one: Expr, other: Expr) -> Expr | None:
    """The sum of two rows with zeros around what is in them, where that does not overlap."""
    if not isinstance(one, Arrange) or not isinstance(other, Arrange):
        return None
    if not one.kind == other.kind == "cat" or (one.size, one.axis) != (other.size, other.axis):
        return None
    axis, placed = one.axis, [*_placed(one), *_placed(other)]
    pairs = ((p, q) for k, p in enumerate(placed) for q in placed[:k])
    if not all(_ends_before(p, q, axis) or _ends_before(q, p, axis) for p, q in pairs):
        return None

    def order(p: Placed, q: Placed) -> int:
        return -1 if _ends_before(p, q, axis) else 1

    return _cat_of(sorted(placed, key=cmp_to_key(order)), one.size, axis)


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
    return all(
        n.value in (0.0, 1.0) if isinstance(n, Const) else _function_of(n) in ("lt", "le")
        for n in ends(value, lambda n: _function_of(n) in ("mul", "maximum", "sub"))
    )


def _function_of(value: Expr) -> str | None:
    return value.function if isinstance(value, Apply) else None


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
        one, other = (expand(a, row.size) for a in row.args)  # each is added up as often
        return reduce("sum", one, size) + reduce("sum", other, size)
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
    if not isinstance(row, Apply) or not within(size, row.size):
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


# ---- rearranging -------------------------------------------------------------------------------

Rows = tuple[Expr, ...]
Placed = tuple[Expr, str]  # a row, and where it begins among others


def _check_index(index: Sequence[int], size: str, expected: int, reached: int) -> None:
    """Raise unless an index has one entry for each unit of a size, and finds every unit."""
    if len(index) != expected:
        raise ValueError(
            f"an index picks {len(index)} units where {size!r} has {expected}; give one for each, "
            f"or say the size of what is picked: take(v, index, size='{len(index)}')"
        )
    if max(index) >= reached:
        raise ValueError(
            f"an index picks unit {max(index)} of a row of {reached} units, which are counted "
            "from 0"
        )


def _check_room(size: str, sizes: Mapping[str, int], placed: Sequence[tuple[str, str]]) -> None:
    """Raise unless each size, with where it begins, has its place within one of this size."""
    for part, start in placed:
        end, room = units(start, sizes, 0) + units(part, sizes), units(size, sizes)
        if end > room:
            raise ValueError(
                f"a part ends at unit {end} ({together([start, part])!r}) of a row of {room} "
                f"units ({size!r}); give sizes that fit into each other"
            )


def _indexed(row: Expr, key: object) -> Expr:
    """row[3], row[2:], row[:, :-1]: as Python has it, but that bounds must be inside of the row."""
    keys: list[object] = list(key) if isinstance(key, tuple) and key else [key]
    axes = named(row.size) or [0]
    if keys[0] is ...:
        keys[:1] = [slice(None)] * (len(axes) + 1 - len(keys))
    if len(keys) > len(axes):
        raise IndexError(f"{row} has {len(axes)} axis or axes and was given {len(keys)} indices")
    for axis, one in zip(axes, keys, strict=False):
        row = _part_of(row, one, axis)
    return row


def _part_of(row: Expr, key: object, axis: int) -> Expr:
    if isinstance(key, int) and not isinstance(key, bool):
        key = slice(key, key + 1 if key != -1 else None)
    bounds = (key.start, key.stop) if isinstance(key, slice) and key.step is None else (True,)
    if any(isinstance(b, bool) or not isinstance(b, int | None) for b in bounds):
        raise TypeError(PARTS)
    whole = along(row.size, axis)
    first, last = (_unit(b, whole) for b in bounds)
    start, end = first or "0", last or whole
    size = replaced(row.size, axis, without(end, start), axis + 1)
    return arrange("part", [row], (start, whole), size, axis)


def _unit(bound: int | None, size: str) -> str | None:
    """Where a unit stands, counted from either end."""
    if bound is None:
        return None
    return str(bound) if bound >= 0 else without(size, str(-bound))


def _placed(row: Arrange) -> list[Placed]:
    """The rows that stand side by side in one, and where."""
    return list(zip(row.args, row.details, strict=True))


def _end(placed: Placed, axis: int) -> str:
    return together([placed[1], along(placed[0].size, axis)])


def _ends_before(one: Placed, other: Placed, axis: int) -> bool:
    return fits(_end(one, axis), other[1])


def _cat_of(placed: Sequence[Placed], size: str, axis: int) -> Expr:
    return arrange("cat", [r for r, _ in placed], tuple(s for _, s in placed), size, axis)


def _unchanged(rows: Rows, size: str, axis: int) -> Expr | None:
    """A row whose units are all the same, which has no order."""
    return rows[0] if along(size, axis) == SCALAR or isinstance(rows[0], Const) else None


def _inner(rows: Rows, kind: Arrangement, axis: int) -> Arrange | None:
    """The one row, if it is itself arranged in this way."""
    row = rows[0]
    alike = isinstance(row, Arrange) and row.kind == kind and row.axis == axis
    return row if isinstance(row, Arrange) and alike else None


def _roll(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    inner = _inner(rows, "roll", axis)
    if inner is not None:
        return arrange("roll", inner.args, (inner.details[0] + details[0],), size, axis)
    return _unchanged(rows, size, axis) if details[0] else rows[0]


def _shift(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    if not details[0]:
        return rows[0]
    return const(0, size) if along(size, axis) == SCALAR else None


def _flip(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    if (inner := _inner(rows, "flip", axis)) is not None:
        return inner.args[0]
    total = _inner(rows, "cumsum", axis)
    flipped = None if total is None else _inner(total.args, "flip", axis)
    if total is not None and flipped is not None:
        return arrange("cumsum", flipped.args, (not total.details[0],), size, axis)
    return _unchanged(rows, size, axis)


def _cumsum(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    return rows[0] if along(size, axis) == SCALAR else None


def _take(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    (index,) = details
    if isinstance(rows[0], Const):
        return const(rows[0].value, size)
    return rows[0] if rows[0].size == size and _is_range(index) else None


def _index_add(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    (index,) = details
    if rows[0].size == size and _is_range(sorted(index)):  # then it has an inverse
        inverse = tuple(sorted(range(len(index)), key=index.__getitem__))
        return arrange("take", rows, (inverse,), size, axis)
    return None


def _is_range(index: Sequence[int]) -> bool:
    return list(index) == list(range(len(index)))


def _part(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    (row,), (start, whole) = rows, details
    if whole != along(row.size, axis):
        return None  # it is still to be seen whether the parts add up
    if size == row.size:
        return row
    if isinstance(row, Const):
        return const(row.value, size)
    if not isinstance(row, Arrange) or row.axis != axis:
        return None
    if not fits(together([start, along(size, axis)]), whole):
        return None
    if row.kind == "part":
        first, of = row.details
        return arrange("part", row.args, (together([first, start]), of), size, axis)
    exact = (
        [r for r, s in _placed(row) if s == start and r.size == size] if row.kind == "cat" else []
    )
    return exact[0] if exact else None


def _cat(rows: Rows, details: tuple[Any, ...], size: str, axis: int) -> Expr | None:
    placed: list[Placed] = []
    for row, start in zip(rows, details, strict=True):
        if isinstance(row, Arrange) and row.kind == "cat" and row.axis == axis:
            placed += [(r, together([start, s])) for r, s in _placed(row)]
        elif not _is(row, 0):
            placed.append((row, start))
    joined: list[Placed] = []
    for row, start in placed:
        both = _joined(joined[-1], (row, start), axis) if joined else None
        joined[-1:] = [both] if both else [*joined[-1:], (row, start)]
    if len(joined) != len(rows) or any(r is not s for (r, _), s in zip(joined, rows, strict=True)):
        return _cat_of(joined, size, axis)
    return rows[0] if rows[0].size == size else None


def _renamed(row: Expr, origins: tuple[int, ...], size: str) -> Expr:
    """The numbers of a row along other axes: see `Arrange`."""
    there = [k for k, origin in enumerate(origins) if origin >= 0]
    if sorted(k for k in origins if k >= 0) != named(row.size) or there != named(size):
        raise ValueError(f"rename cannot make a row of size {size!r} of one of size {row.size!r}")
    if isinstance(row, Const):
        return const(row.value, size)
    if isinstance(row, Arrange) and row.kind == "rename":
        (before,) = row.details
        return _renamed(row.args[0], tuple(k if k < 0 else before[k] for k in origins), size)
    if row.size == size and all(k in (-1, at) for at, k in enumerate(origins)):
        return row
    return _intern(Arrange, ("rename", (row,), (origins,), 0), size)


def _joined(one: Placed, other: Placed, axis: int) -> Placed | None:
    """Two parts of one row that stand side by side in it and here, as one part."""
    (a, at), (b, next_to) = one, other
    if not isinstance(a, Arrange) or not isinstance(b, Arrange) or not a.kind == b.kind == "part":
        return None
    if not a.axis == b.axis == axis:
        return None
    (first, whole), (second, other_whole) = a.details, b.details
    meet = _end((a, first), axis) == second and _end((a, at), axis) == next_to
    if a.args[0] is not b.args[0] or whole != other_whole or not meet:
        return None
    length = together([a.length(), b.length()])
    size = replaced(a.size, axis, length, places([a.args[0].size]))
    return arrange("part", a.args, (first, whole), size, axis), at


_ARRANGED: dict[Arrangement, Callable[[Rows, tuple[Any, ...], str, int], Expr | None]] = {
    "roll": _roll,
    "shift": _shift,
    "flip": _flip,
    "cumsum": _cumsum,
    "take": _take,
    "index_add": _index_add,
    "part": _part,
    "cat": _cat,
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


def ends(value: Expr, inside: Callable[[Expr], bool]) -> Iterator[Expr]:
    """Where a walk from a value ends that goes on from what is inside of it, each once, in order.

    >>> x, y = (symbol(name, "sequence", "input") for name in "xy")
    >>> list(ends((x + y) * y, lambda v: isinstance(v, Apply)))
    [x, y]
    """
    seen: set[Expr] = set()
    stack = [value]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if inside(node):
            stack.extend(reversed(node.args))
        else:
            yield node


def substitute(roots: Iterable[Expr], replacements: Mapping[Expr, Expr]) -> tuple[Expr, ...]:
    """The roots with some expressions replaced, simplified again."""
    roots = tuple(roots)
    done: dict[Expr, Expr] = dict(replacements)
    for node in postorder(roots):
        if node not in done:
            done[node] = node.rebuilt(tuple(done[a] for a in node.args)) if node.args else node
    return tuple(done[r] for r in roots)
