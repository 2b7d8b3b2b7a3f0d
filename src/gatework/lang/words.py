"""The words a cell is written with: linear, vector, sigmoid, layer_norm, dropout, …

Functions carry torch's names and meaning. They work on the values of a cell while it is traced.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, Literal

from gatework.lang.axes import (
    SCALAR,
    along,
    has_axes,
    lacking,
    named,
    places,
    replaced,
    shape_of,
    shown,
    sized,
    slots,
    within,
)
from gatework.lang.definition import Parameter, Per, Start, collecting
from gatework.lang.expressions import (
    Arrangement,
    Expr,
    Matrix,
    Number,
    apply,
    arrange,
    as_expr,
    const,
    expand,
    joint_size,
    product,
    reduce,
)
from gatework.lang.expressions import count as counted
from gatework.lang.sizes import checked, divided, names_in, together
from gatework.lang.tracing import Trace

Value = Expr | Number
Size = str | Sequence[str]  # the name of a size, or those of some of a cell's axes
Dim = str | Sequence[str] | None  # the axes over which is summed; None for all units

# ---- maps and learned values -------------------------------------------------------------------


def linear(
    gate: str,
    *values: Expr,
    bias: bool = True,
    size: Size | None = None,
    per: str | None = None,
    group: str | None = None,
    transposed: bool = False,
) -> Expr:
    """The affine map of a gate on each given value, each with its own weight: Σ Wᵥ v + bᵥ.

    Maps that read the same value are stacked in one parameter, in the order in which they first
    appear: those of the input in `weight_ih`, those of the first state, where it is the output, in
    `weight_hh`, those of another state `c` in `weight_ch`. Any other value has a group of its own,
    `weight_<gate>h` unless `group` names it. Two calls share a weight only where they map the same
    value.

    Args:
        gate: The gate's name.
        values: What it reads; each may be the input, a state or any other value.
        bias: Whether each map adds a learned bias.
        size: The name of the result's size, or those of its axes; "hidden" unless given, or the
            axes of what is mapped `per` one of them.
        per: The axis whose indices each have a weight of their own: of a value that has this axis,
            such as "head", each head maps its own part alone; one that lacks it, as the input, is
            read whole by every head.
        group: The name of the stacked parameter, for a value that is neither the input nor the
            first state.
        transposed: Whether each weight is applied transposed, Wᵀ v + b: `linear("g", h)` and
            `linear("g", h, transposed=True)` share one square weight.

    Example:
        >>> from gatework import cell, linear, tanh
        >>> @cell
        ... def vanilla(x, h):
        ...     return tanh(linear("h", x, h))
        >>> [p.name for p in vanilla.parameters]
        ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh']
    """
    trace = Trace.current("linear")
    trace.check_name(gate, "a gate")
    if not values:
        raise TypeError(f"linear({gate!r}) needs at least one value to map")
    rows = tuple(map(as_expr, values))
    if len(set(rows)) < len(rows):
        raise ValueError(f"linear({gate!r}) is given the same value twice; leave one out")
    size = _size_of_map(trace, f"linear({gate!r}", rows, size, per)
    trace.add_values(gate, rows, group)
    total: Expr = const(0)
    for row in rows:
        name = trace.group_of(row, gate, group, rows)
        if transposed and row.size != size:
            raise ValueError(
                f"linear({gate!r}, transposed=True) needs a square weight, but it maps the size "
                f"{shown(row.size)} to {shown(size)}"
            )
        matrix = Matrix(name, gate, size, row.size, per if per in slots(row.size) else None)
        mapped = product(trace.matrix(matrix), row, transposed)
        total = total + (mapped + trace.bias(name, gate, size) if bias else mapped)
    trace.add_linear(gate, total)
    return total


def _size_of_map(
    trace: Trace, word: str, rows: Sequence[Expr], given: Size | None, per: str | None
) -> str:
    """The size of a map's result: where it is per head, that of what has heads unless given."""
    if per is None:
        return trace.size("hidden" if given is None else given)
    trace.check_per(word, per, ())
    own = [row.size for row in rows if per in slots(row.size)] or [rows[0].size]
    size = own[0] if given is None else trace.size(given)
    trace.check_per(word, per, (*own, size))
    return size


class Map:
    """A learned matrix as a value of a cell, made by `weight`. Called with a value, it maps it."""

    def __init__(
        self,
        name: str,
        size: str | None,
        of: str | None,
        per: str | None = None,
        transposed: bool = False,
    ) -> None:
        self.name, self.of, self.per, self.transposed = name, of, per, transposed
        self.size = size  # None for that of what it maps

    def __call__(self, value: Value) -> Expr:
        """W v, or Wᵀ v of the transposed map."""
        trace, row = Trace.current("a map"), as_expr(value)
        square = self.size is None
        known = None if self.transposed and not square else row.size
        cols = self.of or trace.columns.get(self.name) or known
        if cols is None:
            raise ValueError(
                f"{self.name}.T(…) stands before {self.name}(…), so the size of its result is not "
                f"known; say it: weight({self.name!r}, of='hidden')"
            )
        rows = self.size or cols
        wanted = rows if self.transposed else cols
        if row.size != wanted:
            if wanted != SCALAR and has_axes(row.size) and within(wanted, row.size):
                axis = shown(wanted)
                raise ValueError(
                    f"the map {self.name!r} maps {axis}, and the value has {shown(row.size)}; a "
                    f"map along one axis is a sum over it: sum(vector({self.name!r}, size=('out', "
                    f"{axis})) * v, dim={axis}), and rename(…, out={axis}) of that"
                )
            raise ValueError(
                f"the map {self.name!r} maps the size {shown(wanted)} here, and the value has the "
                f"size {shown(row.size)}; make a map for each"
            )
        if self.per is not None:
            trace.check_per(f"weight({self.name!r}", self.per, (cols, rows))
        return product(trace.map_matrix(self.name, rows, cols, self.per), row, self.transposed)

    @property
    def T(self) -> Map:
        """The transposed map: the same weight, Wᵀ v."""
        return Map(self.name, self.size, self.of, self.per, not self.transposed)


Init = float | Callable[..., object] | None


def weight(
    name: str,
    *,
    size: Size | None = None,
    of: Size | None = None,
    per: str | None = None,
    init: Init = None,
    learned: bool = True,
) -> Map:
    """A learned matrix as a value: applied as often as one likes, transposed by `.T`.

    `linear` is the short form, where a gate has a weight and a bias for each value that it maps.
    The parameter is `weight_<name>`; gradients add up over the uses.

    Args:
        name: Its name.
        size: The name of the result's size; "hidden" unless given, or where it is `per` an axis,
            that of what it maps.
        of: The name of the size that it maps; that of the first value it is applied to, unless
            given.
        per: The axis whose indices each have a matrix of their own, as `linear` has it. The values
            have this axis.
        init: What it starts from: a number, or a function of its rows and columns that returns all
            its numbers, `lambda rows, columns: …`, where it is per head `lambda heads, rows,
            columns: …`; unless given, as torch's weights.
        learned: Whether it is learned. Else it keeps its numbers, as a buffer of the layer.

    Example:
        Two steps of Euler's method with one weight.

        >>> from gatework import cell, linear, tanh, weight
        >>> @cell
        ... def euler(x, h, *, dt=0.5):
        ...     u, drive = weight("u"), linear("drive", x)
        ...     for _ in range(2):
        ...         h = h + dt * tanh(drive + u(h))
        ...     return h
        >>> [p.name for p in euler.parameters]
        ['weight_ih', 'bias_ih', 'weight_u']
    """
    trace = Trace.current("weight")
    counts = ("rows", "columns") if per is None else ("heads", "rows", "columns")
    start = _start("weight", name, init, *counts)
    trace.add_map(name, start, _flag("weight", name, learned))
    if per is None and size is None:
        size = "hidden"
    rows, cols = (None if s is None else trace.size(s) for s in (size, of))
    return Map(name, rows, cols, per)


def vector(name: str, init: Init = None, *, size: Size = "hidden", learned: bool = True) -> Expr:
    """A value per unit, learned, such as a peephole or a gain, or known.

    Args:
        name: Its name.
        init: What it starts from: a number, or a function of the number of units that returns one
            for each, `lambda n: …`, or of the lengths of its axes, in the order of the cell's;
            unless given, as torch's weights, uniform in ±1/√hidden_size.
        size: The name of the size whose units it has a value for.
        learned: Whether it is learned. Else it keeps its numbers, as a buffer of the layer.

    Example:
        Units that forget at fixed rates, the slowest after a thousand steps.

        >>> import torch
        >>> from gatework import cell, linear, tanh, vector
        >>> @cell
        ... def leaky(x, h):
        ...     rate = vector("rate", lambda n: torch.logspace(-3, 0, n), learned=False)
        ...     return h + rate * (tanh(linear("n", x, h)) - h)
    """
    trace = Trace.current("vector")
    size = trace.size(size)
    axes = [axis for axis in slots(size) if axis != SCALAR] if has_axes(size) else ["n"]
    start, flag = _start("vector", name, init, *axes), _flag("vector", name, learned)
    return trace.add_parameter(Parameter(name, (name,), (size,), None, start, flag))


def scalar(name: str, init: float = 0.0) -> Expr:
    """One learned number per layer, starting at `init`."""
    trace = Trace.current("scalar")
    start = _start("scalar", name, init)
    return trace.add_parameter(Parameter(name, (name,), (SCALAR,), init=start))


def _start(word: str, name: str, init: object, *counts: str) -> float | Start | None:
    """What a parameter starts from: a number, or a function of these counts, if there are any."""
    if isinstance(init, Real) and not isinstance(init, bool) and math.isfinite(init):
        return float(init)
    if counts and init is None:
        return None
    if counts and callable(init):
        _check_takes(f"{word}({name!r})", init, counts)
        return Start(init)
    given = repr(init) if isinstance(init, Real) else type(init).__name__
    many = f", or from a function that gives one for each, init=lambda {', '.join(counts)}: …"
    raise TypeError(
        f"{word}({name!r}) starts from one finite number, init=0.5{many if counts else ''}; "
        f"got {given}"
    )


def _check_takes(what: str, function: Callable[..., object], counts: Sequence[str]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some functions that are not written in Python
        return
    try:
        signature.bind(*counts)
    except TypeError as error:
        form = f"init=lambda {', '.join(counts)}: …"
        raise TypeError(
            f"{what} calls its init with {len(counts)} int(s), {form}: {error}"
        ) from None


def _flag(word: str, name: str, learned: object) -> bool:
    if isinstance(learned, bool):
        return learned
    raise TypeError(f"{word}({name!r}) is learned or not, learned=False; got {learned!r}")


def observe(name: str, value: Expr) -> Expr:
    """The value itself, under a name by which it can be traced, pinned and plotted."""
    trace = Trace.current("observe")
    trace.check_name(name, "an observed value")
    trace.name(name, as_expr(value))
    return value


def _activated(value: Value, result: Expr) -> Expr:
    """The result of a non-linear function: put on a gate's linear map, it takes its name."""
    Trace.name_activation(as_expr(value), result)
    return result


def _activation(function: str, value: Value) -> Expr:
    return _activated(value, apply(function, value))


# ---- functions of one value --------------------------------------------------------------------


def sigmoid(v: Value) -> Expr:
    """1 / (1 + e⁻ᵛ), between 0 (closed) and 1 (open)."""
    return _activation("sigmoid", v)


def tanh(v: Value) -> Expr:
    """The hyperbolic tangent, between -1 and 1."""
    return _activation("tanh", v)


def relu(v: Value) -> Expr:
    """max(v, 0)."""
    return _activation("relu", v)


def softplus(v: Value) -> Expr:
    """log(1 + eᵛ)."""
    return _activation("softplus", v)


def exp(v: Value) -> Expr:
    """eᵛ."""
    return _activation("exp", v)


def expm1(v: Value) -> Expr:
    """eᵛ - 1, exact near 0."""
    return _activation("expm1", v)


def log(v: Value) -> Expr:
    """The natural logarithm."""
    return _activation("log", v)


def log1p(v: Value) -> Expr:
    """log(1 + v), exact near 0."""
    return _activation("log1p", v)


def sqrt(v: Value) -> Expr:
    """The square root."""
    return apply("sqrt", v)


def sin(v: Value) -> Expr:
    """The sine."""
    return _activation("sin", v)


def cos(v: Value) -> Expr:
    """The cosine."""
    return _activation("cos", v)


def abs(v: Value) -> Expr:
    """The absolute value."""
    return apply("abs", v)


def sign(v: Value) -> Expr:
    """-1, 0 or 1."""
    return apply("sign", v)


def square(v: Expr) -> Expr:
    """v²."""
    return v * v


def silu(v: Expr) -> Expr:
    """v σ(v)."""
    return _activated(v, v * apply("sigmoid", v))


def logsigmoid(v: Expr) -> Expr:
    """log σ(v)."""
    return _activated(v, -apply("softplus", -v))


def elu(v: Expr, alpha: float = 1.0) -> Expr:
    """v where it is positive, α(eᵛ - 1) elsewhere."""
    negative = alpha * apply("expm1", where(v > 0, 0, v))
    return _activated(v, where(v > 0, v, negative))


def hardsigmoid(v: Value) -> Expr:
    """v/6 + 1/2 held between 0 and 1: a sigmoid of straight lines."""
    return _activation("hardsigmoid", v)


def leaky_relu(v: Expr, negative_slope: float = 0.01) -> Expr:
    """v where it is positive, negative_slope · v elsewhere."""
    return _activated(v, where(v > 0, v, negative_slope * v))


def gelu(v: Expr, approximate: Literal["none", "tanh"] = "none") -> Expr:
    """v Φ(v) with the normal distribution's Φ, or its approximation by tanh."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu expects approximate='none' or 'tanh', got {approximate!r}")
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)
        return _activated(v, v * (0.5 * (1 + apply("tanh", inner))))
    return _activated(v, v * (0.5 * (1 + apply("erf", v * math.sqrt(0.5)))))


def softsign(v: Expr) -> Expr:
    """v / (1 + |v|)."""
    return _activated(v, v / (1 + apply("abs", v)))


def atan(v: Value) -> Expr:
    """The arc tangent."""
    return _activation("atan", v)


def erf(v: Value) -> Expr:
    """The error function."""
    return _activation("erf", v)


def floor(v: Value) -> Expr:
    """The largest whole number that is not above v; its derivative is 0."""
    return apply("floor", v)


# ---- derivatives of one's own --------------------------------------------------------------------


def stop(v: Value) -> Expr:
    """`v`, through which no gradient passes: torch's `detach`.

    Example:
        >>> from gatework import cell, linear, stop, tanh
        >>> @cell
        ... def truncated(x, h):
        ...     return tanh(linear("h", x, stop(h)))
    """
    return apply("stop", v)


def pointwise(
    function: Callable[..., Value], derivative: Callable[..., Value | Sequence[Value]]
) -> Callable[..., Expr]:
    """A pointwise function of one's own with a derivative of one's own, such as a surrogate.

    Both are written in the words of the language and take the same values. The function's own
    derivative plays no part.

    Args:
        function: Its value.
        derivative: Its derivative by each argument: one value, or as many as there are arguments.

    Returns:
        A function to use in cells.

    Raises:
        ValueError: If there is not one derivative for each argument.

    Example:
        A spike whose gradient is that of a fast sigmoid (Neftci et al. 2019, eq. 7).

        >>> import gatework as gw
        >>> spike = gw.pointwise(
        ...     lambda v: gw.where(v > 0, 1.0, 0.0), lambda v: 1 / (1 + 25 * gw.abs(v)) ** 2
        ... )
        >>> @gw.cell
        ... def integrate_and_fire(x, s, v):
        ...     v = 0.9 * v * (1 - s) + gw.linear("i", x, s)
        ...     return spike(v - 1), v
    """

    def of(*values: Value) -> Expr:
        result: Expr = stop(function(*values))
        found = derivative(*values)
        slopes = tuple(found) if isinstance(found, tuple | list) else (found,)
        if len(slopes) != len(values):
            raise ValueError(
                f"the derivative gives {len(slopes)} value(s) for {len(values)} argument(s); "
                "return one for each argument, in their order"
            )
        for value, slope in zip(values, slopes, strict=True):
            result = apply("surrogate", result, value, slope)
        return result

    return of


# ---- functions of several values ---------------------------------------------------------------


def where(condition: Expr, a: Value, b: Value) -> Expr:
    """`a` where the condition holds, `b` elsewhere; conditions are written with <, <=, > and >=."""
    return apply("where", condition, a, b)


def minimum(a: Value, b: Value) -> Expr:
    """The smaller of two values."""
    return apply("minimum", a, b)


def maximum(a: Value, b: Value) -> Expr:
    """The larger of two values."""
    return apply("maximum", a, b)


def clamp(v: Expr, min: float = -math.inf, max: float = math.inf) -> Expr:
    """`v` held between two numbers."""
    held = v if min == -math.inf else apply("clamp_min", v, min)
    return _activated(v, held if max == math.inf else apply("clamp_max", held, max))


# ---- functions over the units of a row ---------------------------------------------------------


def sum(v: Expr, dim: Dim = None) -> Expr:
    """The sum over the units, one number per sequence; or over the axes that `dim` names.

    Example:
        What a memory holds under a key: one number for each value (Schlag et al. 2021, eq. 24).

        >>> from gatework import cell, linear, sum
        >>> @cell(axes={"S": ("key", "value")})
        ... def delta_net(x, S):
        ...     k, v = linear("k", x, size="key"), linear("v", x, size="value")
        ...     return S + k * (v - sum(k * S, "key"))
    """
    return reduce("sum", v, _without(v, dim))


def mean(v: Expr, dim: Dim = None) -> Expr:
    """The mean over the units, or over some axes."""
    size = _without(v, dim)
    return reduce("sum", v, size) / counted(lacking(as_expr(v).size, size))


def amax(v: Expr, dim: Dim = None) -> Expr:
    """The largest value of the units, or along some axes."""
    return reduce("max", v, _without(v, dim))


def amin(v: Expr, dim: Dim = None) -> Expr:
    """The smallest value of the units, or along some axes."""
    return -reduce("max", -as_expr(v), _without(v, dim))


def norm(v: Expr, dim: Dim = None) -> Expr:
    """√(Σ v²) over the units, or over some axes, with the derivative 0 where all are 0."""
    total = sum(v * v, dim)
    return where(total > 0, apply("sqrt", where(total > 0, total, 1)), 0)


def normalize(v: Expr, dim: Dim = None, eps: float = 1e-12) -> Expr:
    """`v` of the norm 1 over the units, or over some axes; 0 stays 0, as in torch."""
    return v / maximum(norm(v, dim), eps)


def softmax(v: Expr, dim: Dim = None) -> Expr:
    """exp(v) / Σ exp(v) over the units, or over some axes, computed without overflow."""
    return _activated(v, _softmax(v, dim))


def _softmax(v: Expr, dim: Dim = None) -> Expr:
    e = apply("exp", v - stop(amax(v, dim)))  # what is taken away cancels
    return e / sum(e, dim)


def layer_norm(v: Expr, name: str | None = None, *, dim: Dim = None, eps: float = 1e-5) -> Expr:
    """(v - mean) / √(variance + eps) over the units, or some axes (Ba et al. 2016, eq. 3).

    With a `name`, a learned gain `<name>_weight` (from 1) and bias `<name>_bias` (from 0) follow;
    norms of one name share them.
    """
    normal = normalised(v, eps, dim)
    if name is None:
        return normal
    size = as_expr(v).size
    return normal * _of_norm(f"{name}_weight", 1.0, size) + _of_norm(f"{name}_bias", 0.0, size)


def rms_norm(v: Expr, name: str | None = None, *, dim: Dim = None, eps: float = 1e-6) -> Expr:
    """v / √(mean(v²) + eps) over the units, or some axes (Zhang & Sennrich 2019, eq. 4).

    With a `name`, a learned gain `<name>_weight` (from 1) follows; norms of one name share it.
    """
    normal = v / apply("sqrt", mean(v * v, dim) + eps)
    if name is None:
        return normal
    return normal * _of_norm(f"{name}_weight", 1.0, as_expr(v).size)


def _of_norm(name: str, init: float, size: str) -> Expr:
    """What a norm learns, which it shares with others of its name."""
    trace = Trace.current("a norm")
    return trace.add_of_norm(Parameter(name, (name,), (size,), None, init))


def normalised(v: Expr, eps: float = 1e-5, dim: Dim = None) -> Expr:
    """(v - mean) / √(variance + eps) over the units, or over some axes."""
    centred = v - mean(v, dim)
    return centred / apply("sqrt", mean(centred * centred, dim) + eps)


def count(size: Size) -> Expr:
    """How many units a size has, or an axis: known once a layer is built.

    Example:
        >>> from gatework import cell, count, linear, sum
        >>> @cell(axes={"S": ("key", "value")})
        ... def linear_attention(x, S):
        ...     k, v = linear("k", x, size="key"), linear("v", x, size="value")
        ...     return S + k / count("key") ** 0.5 * v
    """
    return counted(Trace.current("count").size(size))


def _without(v: Value, dim: Dim) -> str:
    """The size of what is left of a value without some of its axes; all of them by default."""
    if dim is None:
        return SCALAR
    if isinstance(dim, int):
        raise TypeError(
            f"dim= takes the name of an axis, or several; got {dim}; all units without it"
        )
    size = as_expr(v).size
    names = [dim] if isinstance(dim, str) else dim
    over = [_place([size], name) for name in names]
    return sized([SCALAR if k in over else axis for k, axis in enumerate(slots(size))])


# ---- rows in another order, and parts of them --------------------------------------------------


def roll(v: Expr, shifts: int, dim: str | None = None) -> Expr:
    """Every unit moved up by so many places; what leaves at the end comes in at the beginning.

    Like all words that arrange rows it goes along the axis that `dim` names, where there are
    several.

    Example:
        A stack in a matrix: its rows go one down, and what is read comes to the top.

        >>> from gatework import cell, cat, linear, tanh
        >>> @cell(axes={"S": ("depth", "width")}, output=True)
        ... def pushing(x, S):
        ...     top = tanh(linear("top", x, size="width"))
        ...     S = cat([top, S[:-1]], dim="depth")
        ...     return S[0], S
    """
    return _arranged("roll", v, dim, _whole("roll", shifts))


def shift(v: Expr, shifts: int, dim: str | None = None) -> Expr:
    """Every unit moved up by so many places; what leaves is gone, and zeros come in."""
    return _arranged("shift", v, dim, _whole("shift", shifts))


def flip(v: Expr, dim: str | None = None) -> Expr:
    """The last unit first."""
    return _arranged("flip", v, dim)


def cumsum(v: Expr, dim: str | None = None) -> Expr:
    """The sum of all units up to each one."""
    return _arranged("cumsum", v, dim, False)


def cumax(v: Expr, dim: str | None = None) -> Expr:
    """cumsum(softmax(v)), which rises from 0 to 1 over the units (Shen et al. 2019)."""
    return _activated(v, cumsum(_softmax(v, dim), dim))


def take(v: Expr, index: Sequence[int], *, size: str | None = None, dim: str | None = None) -> Expr:
    """The units v[index[0]], v[index[1]], …, counted from 0: in another order, or some of them.

    Args:
        v: The row.
        index: One number for each unit of the result.
        size: The size of the result along the axis. Without it, that of `v` if the index is a
            permutation, which has each of 0, 1, 2, … once; else the number of units that are
            picked.
        dim: The axis, where the row has several.

    Example:
        >>> from gatework import cell, linear, take, tanh
        >>> @cell
        ... def swapped(x, h):
        ...     return tanh(linear("h", x) + take(h, [1, 0, 3, 2]))
    """
    if not isinstance(index, Iterable) or isinstance(index, str | Expr):
        raise TypeError(f"take picks units by a list of their numbers, [2, 0, 1]; got {index!r}")
    row, picked = as_expr(v), tuple(_whole("take", i) for i in index)
    if not picked or any(i < 0 for i in picked):
        raise ValueError("take picks units by numbers from 0 on, at least one of them")
    axis = _axis("take", [row], dim)
    if size is None:
        permutes = sorted(picked) == list(range(len(picked)))
        size = along(row.size, axis) if permutes and len(picked) > 1 else str(len(picked))
    return arrange("take", [row], (picked,), _resized(row, axis, checked(size)), axis)


def cat(rows: Sequence[Value], dim: str | None = None) -> Expr:
    """Rows side by side, as one row; its size is the sum of theirs: "hidden+key".

    Along an axis that a value lacks it is one index long; along the others it is repeated.
    """
    values = tuple(map(as_expr, rows if isinstance(rows, list | tuple) else [rows]))
    axis, count = _axis("cat", values, dim), places([SCALAR, *(v.size for v in values)])
    lengths = [along(v.size, axis) for v in values]
    starts = tuple(together(lengths[:k]) for k in range(len(lengths)))
    rest = joint_size(const(0, replaced(v.size, axis, SCALAR, count)) for v in values)
    whole = [
        expand(v, replaced(rest, axis, length, count))
        for v, length in zip(values, lengths, strict=True)
    ]
    return arrange("cat", whole, starts, replaced(rest, axis, together(lengths), count), axis)


def chunk(v: Expr, chunks: int, dim: str | None = None) -> tuple[Expr, ...]:
    """A row in equal parts, whose size is "hidden/2" for two parts of "hidden".

    Example:
        An LSTM whose four gates are one map, as other libraries have it.

        >>> from gatework import cell, chunk, linear, sigmoid, tanh
        >>> @cell
        ... def lstm(x, h, c):
        ...     i, f, g, o = chunk(linear("gates", x, h, size="4*hidden"), 4)
        ...     c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        ...     return sigmoid(o) * tanh(c), c
        >>> lstm.parameters[0].rows
        ('4*hidden',)
    """
    if _whole("chunk", chunks) < 1:
        raise ValueError(f"chunk expects how many parts there are, 1 or more, got {chunks}")
    row = as_expr(v)
    length = along(row.size, _axis("chunk", [row], dim))
    return split(row, [divided(length, chunks)] * chunks, dim)


def split(v: Expr, sizes: Sequence[str], dim: str | None = None) -> tuple[Expr, ...]:
    """A row in parts of these sizes, which must add up to its own when a layer is made."""
    row, parts = as_expr(v), [checked(size) for size in sizes]
    axis, whole = _axis("split", [row], dim), together(parts)
    starts = [together(parts[:k]) for k in range(len(parts))]
    return tuple(
        arrange("part", [row], (start, whole), _resized(row, axis, part), axis)
        for start, part in zip(starts, parts, strict=True)
    )


def rename(v: Value, /, **axes: str) -> Expr:
    """A value along other axes of the same lengths: the same numbers, repeated along others.

    Example:
        The outer product of the state with itself, which is remembered.

        >>> from gatework import cell, linear, rename, sum, tanh
        >>> @cell(axes={"h": ("unit",), "A": ("unit", "other")})
        ... def fast_weights(x, h, A):
        ...     A = 0.95 * A + 0.5 * h * rename(h, unit="other")
        ...     h = tanh(linear("n", x, h, size="unit"))
        ...     return tanh(h + sum(A * rename(h, unit="other"), dim="other")), A
    """
    trace, row = Trace.current("rename"), as_expr(v)
    if not axes or not all(isinstance(n, str) and n.isidentifier() for n in axes.values()):
        raise TypeError(
            f"rename says which axis is read as which, rename(v, key='other'); got {axes}"
        )
    trace.meet_axes(list(dict.fromkeys([*axes, *axes.values()])))
    old = slots(row.size)
    if missing := [name for name in axes if name not in old]:
        raise ValueError(
            f"rename reads an axis of the value, which has {shown(row.size)}; got {missing[0]!r}"
        )
    place = {axes.get(name, name): k for k, name in enumerate(old) if name != SCALAR}
    if len(place) < len({*old} - {SCALAR}):
        raise ValueError(
            f"rename would give {shown(row.size)} the same axis twice; sum over one of them, or "
            "rename both"
        )
    size = shape_of(trace.axes, list(place))
    return arrange("rename", [row], (tuple(place.get(n, -1) for n in slots(size)),), size)


def _arranged(kind: Arrangement, v: Value, dim: str | None, *details: Any) -> Expr:
    row = as_expr(v)
    return arrange(kind, [row], details, row.size, _axis(kind, [row], dim))


def _resized(row: Expr, axis: int, length: str) -> str:
    """The size of a row that has another length along an axis."""
    return replaced(row.size, axis, length, axis + 1)


def _axis(word: str, rows: Sequence[Expr], dim: str | None) -> int:
    """The place of the axis along which rows are arranged: the only one they have, or a named."""
    sizes = [row.size for row in rows]
    if dim is not None:
        return _place(sizes, dim)
    found = {k for size in sizes for k in named(size)}
    if len(found) > 1:
        raise ValueError(
            f"{word} goes along one axis, and {' and '.join(map(shown, sizes))} has several; "
            "name it: dim=…"
        )
    return min(found, default=0)


def _place(sizes: Sequence[str], dim: str) -> int:
    """The place of an axis in the sizes of some values: "key" also of a part "key/2" of it."""
    has = {(k, slots(size)[k]) for size in sizes for k in named(size)}
    trace, count = collecting.get(), places([*sizes, SCALAR])
    order = trace.axes if isinstance(trace, Trace) and len(trace.axes) == count else ()
    found = {k for k, slot in has if dim in (slot, *names_in(slot), *order[k : k + 1])}
    if len(found) != 1:
        axes = ", ".join(slot for _, slot in sorted(has)) or "none: it is a single number"
        raise ValueError(f"dim= names axes of the value, {axes}; got {dim!r}")
    return found.pop()


def _whole(word: str, number: int) -> int:
    try:
        return operator.index(number)
    except TypeError as error:
        raise TypeError(
            f"{word} is fixed when the cell is defined, by a whole number; got {number!r}"
        ) from error


# ---- noise: random in training mode, its expected value in eval mode -----------------------------


def dropout(v: Expr, p: float, per: Per = "step") -> Expr:
    """`v` with each unit set to 0 with probability p, the others scaled by 1/(1-p).

    Units are drawn anew at every step, or once per sequence (Gal & Ghahramani 2016).
    """
    if _probability("dropout", p) == 0:
        return v
    keep = Trace.current("dropout").add_noise(1 - p, per, v.size)
    return v * (keep / (1 - p))  # in eval mode exactly v


def zoneout(new: Expr, old: Expr, p: float, per: Per = "step") -> Expr:
    """`new`, where each unit keeps its old value with probability p (Krueger et al. 2017).

    In eval mode both are mixed in that proportion.
    """
    if _probability("zoneout", p) == 0:
        return new
    keep = Trace.current("zoneout").add_noise(p, per, new.size)
    return keep * old + (1 - keep) * new


def _probability(word: str, p: float) -> float:
    if not isinstance(p, int | float) or not 0 <= p < 1:
        raise ValueError(f"{word} expects a probability p with 0 <= p < 1, got {p!r}")
    return p


__all__ = [
    "abs",
    "amax",
    "amin",
    "atan",
    "cat",
    "chunk",
    "clamp",
    "cos",
    "count",
    "cumax",
    "cumsum",
    "dropout",
    "elu",
    "erf",
    "exp",
    "expm1",
    "flip",
    "floor",
    "gelu",
    "hardsigmoid",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "logsigmoid",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "normalize",
    "observe",
    "pointwise",
    "relu",
    "rename",
    "rms_norm",
    "roll",
    "scalar",
    "shift",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "softsign",
    "split",
    "sqrt",
    "square",
    "stop",
    "sum",
    "take",
    "tanh",
    "vector",
    "weight",
    "where",
    "zoneout",
]
