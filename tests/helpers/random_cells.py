"""Random cells, written in the language itself, for tests that must hold for every cell.

    @given(random_cells())
    def test_something(cell): ...

A cell has one to three states, one to three dependent products, perhaps an output that is no state,
and any of the functions, used where they are defined and smooth enough to compare gradients. Values
are kept small, so that derivatives can be compared to many digits.
"""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import reject

import gatework as gw
from gatework.lang import Cell, DefinitionError
from gatework.lang.expressions import Expr

Draw = Callable[[st.SearchStrategy], object]

STEP = gw.pointwise(lambda v: gw.where(v > 0, 1.0, 0.0), lambda v: 1 / (1 + gw.square(v)))

# Each is defined everywhere and grows at most like its argument.
ONE_VALUE: dict[str, Callable[[Expr], Expr]] = {
    "sigmoid": gw.sigmoid,
    "tanh": gw.tanh,
    "softplus": gw.softplus,
    "sin": gw.sin,
    "cos": gw.cos,
    "silu": gw.silu,
    "logsigmoid": gw.logsigmoid,
    "exp": lambda v: gw.exp(gw.tanh(v)),
    "expm1": lambda v: gw.expm1(gw.sin(v)),
    "log": lambda v: gw.log(gw.square(v) + 0.5),
    "log1p": lambda v: gw.log1p(gw.square(v)),
    "sqrt": lambda v: gw.sqrt(gw.square(v) + 0.3),
    "square": lambda v: gw.square(gw.tanh(v)),
    "cube": lambda v: gw.sin(v) ** 3,
    "power": lambda v: (gw.square(v) + 0.5) ** -0.5,
    "negated": lambda v: -v,
    "complement": lambda v: 1 - v,
    "halved": lambda v: v / 2,
    "abs": lambda v: gw.abs(v),
    "sign": lambda v: v * gw.sign(v),
    "relu": gw.relu,
    "hardsigmoid": gw.hardsigmoid,
    "atan": gw.atan,
    "erf": gw.erf,
    "gelu": gw.gelu,
    "softsign": gw.softsign,
    "floor": lambda v: v * gw.floor(1.5 + 0.4 * gw.tanh(v)),  # far from where it jumps
    "stop": lambda v: v * gw.stop(gw.tanh(v)),
    "surrogate": lambda v: v + STEP(1.5 + gw.tanh(v)),  # the same
    "amax": lambda v: v - 0.1 * gw.amax(v),
    "norm": lambda v: v / (1 + gw.norm(v)),
    "elu": gw.elu,
    "leaky_relu": gw.leaky_relu,
    "clamp": lambda v: gw.clamp(v, -0.5, 0.7),
    "sum": lambda v: v - 0.1 * gw.sum(v),
    "mean": lambda v: v + gw.mean(v),
    "softmax": gw.softmax,
    "layer_norm": lambda v: gw.layer_norm(v, eps=0.1),
    "roll": lambda v: gw.roll(v, 2),
    "shift": lambda v: v + gw.shift(v, -1),
    "shift_up": lambda v: gw.shift(v, 3) - v,
    "flip": gw.flip,
    "cumsum": lambda v: 0.1 * gw.cumsum(gw.tanh(v)),
    "cumax": gw.cumax,
    "suffix_sum": lambda v: 0.1 * gw.flip(gw.cumsum(gw.flip(gw.sin(v)))),
    "take": lambda v: v - 0.1 * gw.sum(gw.take(v, [0, 0])),
    "unit": lambda v: v + gw.tanh(v[-1]) * v[0],
}
TWO_VALUES: dict[str, Callable[[Expr, Expr], Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (1.5 + b * b),
    "minimum": gw.minimum,
    "maximum": gw.maximum,
    "where": lambda a, b: gw.where(a < b, a * b, b - a),
    "where_le": lambda a, b: gw.where(a >= 0.1, b, 0.3),
    "mix": lambda a, b: gw.sigmoid(a) * b + (1 - gw.sigmoid(a)) * a,
    "scaled": lambda a, b: a * gw.mean(b),
    "cat": lambda a, b: gw.chunk(gw.roll(gw.cat([a, b]), 1), 2)[0],
    "chunk": lambda a, b: a * gw.chunk(gw.flip(gw.cat([gw.sin(b), 0.5])), 1)[0][1:],
}

REFUSED = (
    "is never used",  # what a gate was used for has cancelled itself, as in v - v
)

_FORMS: dict[int, Callable[[Callable[..., object]], Callable[..., object]]] = {
    1: lambda build: lambda x, h: build((x,), h),
    2: lambda build: lambda x, h, c: build((x,), h, c),
    3: lambda build: lambda x, h, c, m: build((x,), h, c, m),
}
# The same of cells that also read u at each step, and v once for a sequence.
_FURTHER: dict[int, Callable[[Callable[..., object]], Callable[..., object]]] = {
    1: lambda build: lambda x, u, v, /, h: build((x, u, v), h),
    2: lambda build: lambda x, u, v, /, h, c: build((x, u, v), h, c),
    3: lambda build: lambda x, u, v, /, h, c, m: build((x, u, v), h, c, m),
}


@st.composite
def random_cells(
    draw: Draw,
    *,
    sizes: tuple[str, ...] = ("hidden", "memory"),
    noise: bool = False,
    outputs: bool = True,
    further: bool = False,
) -> Cell:
    """A strategy for cells.

    Args:
        draw: Given by hypothesis.
        sizes: The sizes that a state may have, the first being "hidden".
        noise: Whether dropout and zoneout may stand in it.
        outputs: Whether its output may be none of its states.
        further: Whether it may read more than its input.
    """
    count = draw(st.integers(1, 3))
    state_sizes = [draw(st.sampled_from(sizes)) for _ in range(count)]
    named = {s: n for s, n in zip("hcm", state_sizes, strict=False) if n != "hidden"}
    output = outputs and draw(st.booleans())

    several = further and draw(st.booleans())
    of_u, of_v = (draw(st.sampled_from(["1", "input", *sizes])) if several else "1" for _ in "uv")

    def build(inputs: tuple[Expr, ...], *states: Expr) -> tuple[object, ...]:
        builder = _Builder(draw, inputs, states, noise)
        new = builder.cell()
        return (builder.output(), new) if output else new

    function = (_FURTHER if several else _FORMS)[count](build)
    function.__name__ = "random_cell"
    try:
        if several:
            named["u"] = of_u
        given = {"v": of_v} if several else {}
        return gw.cell(sizes=named, given=given, output=output)(function)
    except DefinitionError as error:
        if not any(why in str(error) for why in REFUSED):
            raise
        reject()


class _Builder:
    """Draws the values of one cell while it is traced."""

    def __init__(
        self, draw: Draw, inputs: tuple[Expr, ...], states: tuple[Expr, ...], noise: bool
    ) -> None:
        self.draw, self.states, self.noise = draw, states, noise
        self.x, *self.further = inputs
        self.pools: dict[str, list[Expr]] = {}
        self.serial = 0
        for s in states:
            self.pools.setdefault(s.size, []).append(s)
        for row in self.further:  # a single number is drawn as a leaf of every size
            for size in self.pools:
                if row.size in (size, "1"):
                    self.pools[size].append(row * gw.vector(self.name("s"), 0.5, size=size))

    def cell(self) -> tuple[Expr, ...]:
        """The new states."""
        row: Expr | None = None  # what the products of a later stage read
        for stage in range(self.draw(st.integers(1, 3))):
            if stage:
                row = self.value(self.chosen(sorted(self.pools)), depth=2)
            for _ in range(self.draw(st.integers(1, 2))):
                self.add_gate(row)
        return tuple(self.new_state(s) for s in self.states)

    def output(self) -> Expr:
        """An output that is no state: any value, or a map of one to a size of its own."""
        value = self.value(self.chosen(sorted(self.pools)), depth=2)
        if self.draw(st.booleans()):
            return value
        rows = [value, self.x] if self.draw(st.booleans()) and value is not self.x else [value]
        return gw.linear(self.name("y"), *rows, size="read")

    def add_gate(self, row: Expr | None) -> None:
        """One more gate; it reads `row` and perhaps the input and states."""
        size = self.chosen(sorted({s.size for s in self.states}))
        rows = [r for r in (self.x, *self.further, *self.states) if self.draw(st.booleans())]
        name, bias = self.name("g"), self.draw(st.booleans())
        gate: Expr | float = 0.0
        if rows or row is None:
            gate = gw.linear(name, *(rows or [self.x]), bias=bias, size=size)
        if row is not None:
            group = None if row is self.x or row is self.states[0] else f"{name}s"
            gate = gate + gw.linear(name, row, bias=bias, size=size, group=group)
        if self.draw(st.booleans()):
            gate = self.chosen([gw.tanh, gw.sigmoid, gw.softplus])(gate)
        self.pools.setdefault(size, []).append(gate)

    def value(self, size: str, depth: int) -> Expr:
        """A random value of this size."""
        if depth == 0 or self.draw(st.integers(0, 3)) == 0:
            return self.leaf(size)
        if self.draw(st.booleans()):
            one = ONE_VALUE[self.chosen(sorted(ONE_VALUE))]
            return one(self.value(size, depth - 1))
        two = TWO_VALUES[self.chosen(sorted(TWO_VALUES))]
        return two(self.value(size, depth - 1), self.value(size, depth - 1))

    def leaf(self, size: str) -> Expr:
        """A state or a gate; sometimes with a learned value or noise on it."""
        pool = self.pools[size]
        value = self.chosen(pool[::-1])
        kind = self.draw(st.integers(0, 9))
        if kind == 0:
            return value * gw.vector(self.name("p"), 0.5, size=size)
        if kind == 1:
            return value + gw.scalar(self.name("a"), 0.5)
        if kind == 2:
            return gw.layer_norm(value, self.name("norm"), eps=0.1)
        if kind == 3 and self.noise:
            return gw.dropout(value, 0.3, self.chosen(["step", "sequence"]))
        return value

    def new_state(self, state: Expr) -> Expr:
        """The new value of a state: bounded, whatever the random value is."""
        kind = self.draw(st.integers(0, 5))
        fresh = gw.tanh(self.value(state.size, depth=3) + self.gates_left(state.size))
        if kind == 0:
            return 0.5 * state + fresh
        if kind == 1 and self.noise:
            return gw.zoneout(fresh, state, 0.2, self.chosen(["step", "sequence"]))
        if kind == 2:
            return gw.sigmoid(self.leaf(state.size)) * state + fresh
        if kind == 3:
            return gw.observe(self.name("seen"), gw.sin(fresh))
        return fresh

    def gates_left(self, size: str) -> Expr | float:
        """The gates of a size, each in part, so that none stays unused."""
        states = set(self.states)
        gates = [v for v in self.pools[size] if v not in states]
        total: Expr | float = 0.0
        for gate in gates:
            total = total + 0.3 * gate
        return total

    def chosen(self, items: list) -> object:
        """One of the items, drawn by its index: a cell's values cannot be compared."""
        return items[self.draw(st.integers(0, len(items) - 1))]

    def name(self, stem: str) -> str:
        """A new name."""
        self.serial += 1
        return f"{stem}{self.serial}"
