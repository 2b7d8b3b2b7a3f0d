"""A cell: the equations of one step, with the names and the parameters they use."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Any, Literal, Protocol

from gatework.lang.axes import SCALAR, has_axes, slots
from gatework.lang.expressions import (
    Arrange,
    Count,
    Expr,
    Matrix,
    Number,
    Product,
    Role,
    Symbol,
    as_expr,
    const,
    expand,
    postorder,
    substitute,
)
from gatework.lang.keeping import of_the_cell
from gatework.lang.sizes import Sizes, names_in, units

HEADS, KEYS = 4, 16  # how long axes are that a layer is not given: see `Cell.axis_lengths`


@dataclass(frozen=True, eq=False)
class Start:
    """The numbers that a parameter starts with, as a function of its rows and columns, or its axes.

    A pickle holds the function by its name. Where it has none that can be imported, as a lambda, or
    where the cell was written as data, it is lost: the parameter starts at NaN, to be loaded.
    """

    function: Callable[..., Any] | None

    def _parts(self) -> tuple[Any, ...]:
        f = self.function  # Python takes methods of two equal objects for two
        return (f.__func__, f.__self__) if isinstance(f, MethodType) else (f,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Start) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            pickle.dumps(self.function)
        except (pickle.PicklingError, AttributeError, TypeError):
            return Start, (None,)
        return Start, (self.function,)


LOST = Start(None)


@dataclass(frozen=True)
class Parameter:
    """A tensor of a cell, learned or known, stacked from the blocks of several gates.

    Attributes:
        name: Its name in a layer's state_dict, before the suffix `_l0`.
        blocks: The gates stacked in it, in order; its own name if it is a single value.
        rows: The name of each block's size.
        cols: The name of the size of the row it maps; None for a vector.
        init: The number it starts from, or its numbers; None for torch's uniform ±1/√hidden_size.
        learned: Whether it is learned; else it stays as it started: a buffer of the layer.
        per: The axis whose indices each have matrices of their own, see `Matrix`; `cols` is what
            each of these maps.
    """

    name: str
    blocks: tuple[str, ...]
    rows: tuple[str, ...]
    cols: str | None = None
    init: float | Start | None = None
    learned: bool = True
    per: str | None = None

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The tensor's shape for these sizes."""
        rows = sum(sizes[r] for r in self.rows)
        return (rows,) if self.cols is None else (rows, sizes[self.cols])

    def lengths(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of the numbers that it starts from: a vector of several axes has theirs.

        That of maps per head is [heads, rows, columns].
        """
        if self.per is not None:
            rows, cols = self.shape(sizes)
            return sizes[self.per], rows // sizes[self.per], cols
        (row, *others) = self.rows
        if others or self.cols is not None or not has_axes(row):
            return self.shape(sizes)
        return tuple(sizes[axis] for axis in slots(row) if axis != SCALAR)

    def spans(self, sizes: Mapping[str, int]) -> dict[str, slice]:
        """Where each block's rows lie in the tensor."""
        ends = [sum(sizes[r] for r in self.rows[:k]) for k in range(len(self.rows) + 1)]
        return {b: slice(ends[k], ends[k + 1]) for k, b in enumerate(self.blocks)}

    def only(self, blocks: Iterable[str]) -> Parameter | None:
        """The parameter with some of its blocks, or None when none is left."""
        kept = [k for k, b in enumerate(self.blocks) if b in set(blocks)]
        if not kept:
            return None
        return replace(
            self,
            blocks=tuple(self.blocks[k] for k in kept),
            rows=tuple(self.rows[k] for k in kept),
        )


def variant_name(name: str, given: Mapping[str, Any]) -> str:
    """What a cell is called when constants or held values are given: as the command takes it.

    Example:
        >>> variant_name("gru[r=1,z=0]", {"z": 0.5})
        'gru[r=1,z=0.5]'
    """
    if not given:
        return name
    base, _, before = name.removesuffix("]").partition("[")
    kept = [one for one in before.split(",") if one and one.partition("=")[0] not in given]
    return f"{base}[{','.join([*kept, *(f'{n}={v}' for n, v in given.items())])}]"


def block_of(node: Symbol | Matrix) -> tuple[str, str]:
    """The parameter and the block that a matrix or a learned vector stands for."""
    if isinstance(node, Matrix):
        return f"weight_{node.group}", node.gate
    parameter, _, block = node.name.partition(".")
    return parameter, block or parameter


OUTPUT = "output"
"""The name of an output that is no state."""

Per = Literal["step", "sequence"]  # how often a row of noise is drawn for each sequence


@dataclass(frozen=True)
class Noise:
    """A random row of zeros and ones, 1 with this probability; fixed to it in eval mode."""

    symbol: Symbol
    probability: float


@dataclass(frozen=True)
class WeightDrop:
    """Blocks of a stacked weight whose elements are set to 0 with this probability in training.

    They are drawn once for a whole call, and the others scaled by 1/(1-p).
    """

    parameter: str
    blocks: tuple[str, ...]
    probability: float


class Collector(Protocol):
    """What collects the parts of a cell while its function runs. See `gatework.lang.tracing`."""

    def nest(self, cell: Cell, values: Sequence[Any], prefix: str) -> Cell:
        """Another cell on values of this one."""


collecting: ContextVar[Collector | None] = ContextVar("collecting", default=None)
"""The trace under way."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell as its equations. Made by the decorator `cell`; never changed.

    Attributes:
        name: The function's name.
        doc: The function's docstring.
        input: The input of the step.
        states: What is carried from step to step.
        next_states: The new value of each state.
        names: Every named value: the gates, what went into them (`f.pre`), the new states.
        parameters: The learned and the known tensors, in the order of a layer's state_dict.
        noises: The random rows of dropout and zoneout.
        weight_drops: The weights that are dropped out in training mode.
        constants: The keyword-only arguments and their values.
        further: What is read from outside beside the input, by name: at each step, or once for a
            whole sequence where the symbol's role is "constant".
        output: The step's output where it is none of the states, see `output_value`.
    """

    name: str
    doc: str
    input: Symbol
    states: tuple[Symbol, ...]
    next_states: tuple[Expr, ...]
    names: Mapping[str, Expr]
    parameters: tuple[Parameter, ...]
    noises: tuple[Noise, ...] = ()
    weight_drops: tuple[WeightDrop, ...] = ()
    constants: Mapping[str, Number] = field(default_factory=dict)
    further: tuple[Symbol, ...] = ()
    retrace: Callable[[Mapping[str, Number]], Cell] | None = None
    output: Expr | None = None

    @property
    def inputs(self) -> tuple[Symbol, ...]:
        """All that is read from outside: the input, then what is named."""
        return (self.input, *self.further)

    def __call__(self, *values: Any, **constants: Number) -> Cell:
        """The same cell with other constants: `cornn(dt=0.02)`."""
        if values:
            raise TypeError(
                f"cell {self.name!r} is called with constants by name and not with values; "
                f"gatework.nn.Recurrent({self.name}, …) runs it on tensors, and "
                f"{self.name}.equations(…, prefix=…) is a part of another cell"
            )
        check_known("constant", constants, self.constants, f"cell {self.name!r}")
        if self.retrace is None:
            raise TypeError(
                f"cell {self.name!r} was pinned or unpickled, so its constants are fixed; "
                "set them on the cell as it was defined"
            )
        cell = self.retrace({**self.constants, **constants})
        return replace(cell, name=variant_name(self.name, constants))

    def equations(self, *values: Expr | Number, prefix: str) -> Any:
        """The equations of this cell inside those of another one, with weights of their own there.

        Args:
            values: Its inputs, then its states, each any value of the cell that is being defined.
                Its sizes are theirs.
            prefix: What the names of its gates, weights and learned values begin with there, as in
                `inner_f` and `weight_inner_ih_l0`.

        Returns:
            What its function returns: the new state, or a tuple of them; after its output, where
            that is no state.

        Example:
            A GRU whose state decays with the time since the last step (GRU-D, Che et al. 2018).

            >>> import gatework as gw
            >>> @gw.cell
            ... def decaying_gru(x, h):
            ...     kept = gw.exp(-gw.relu(gw.linear("decay", x)))
            ...     return gw.cells.gru.equations(x, kept * h, prefix="inner")
            >>> "inner_z" in decaying_gru.names
            True
        """
        trace = collecting.get()
        if trace is None:
            raise TypeError(
                f"the equations of {self.name!r} can stand inside a function marked @cell; "
                f"gatework.nn.Recurrent({self.name}, …) runs it on tensors"
            )
        inside = trace.nest(self, values, prefix)
        new = inside.next_states if len(self.states) > 1 else inside.next_states[0]
        return new if inside.output is None else (inside.output, new)

    def pin(self, pins: Mapping[str, Number | Expr] | None = None, **more: Number | Expr) -> Cell:
        """The cell with named values held, as a cell of its own (partial evaluation).

        Args:
            pins: The held values by name, for names that are no Python identifiers.
            more: The held values by name.

        Raises:
            ValueError: If the cell has no value of that name.

        Example:
            >>> from gatework import cells, equivalent
            >>> equivalent(cells.gru.pin(r=1, z=0), cells.rnn)
            True
            >>> cells.gru.pin(r=1, z=0).name
            'gru[r=1,z=0]'
        """
        cell = self.holding({**checked_mapping("pin", pins or {}), **more})
        names = {n: v for n, v in cell.names.items() if cell._gives(v)}
        return replace(cell, names=names) if len(names) < len(cell.names) else cell

    def holding(self, held: Mapping[str, Number | Expr]) -> Cell:
        """The same with every name left in it, those of values whose parameters are gone too."""
        check_known("value", held, self.names, f"cell {self.name!r}")
        values = {self.names[n]: expand(as_expr(v), self.names[n].size) for n, v in held.items()}
        return self.substituted(values, variant_name(self.name, held))

    def observing(self, values: Mapping[str, Expr]) -> Cell:
        """The cell with further named values, made of its own, which a trace then shows.

        Example:
            >>> from gatework import cells
            >>> c = cells.lstm.names["c"]
            >>> "squared" in cells.lstm.observing({"squared": c * c}).names
            True
        """
        taken = [n for n in checked_mapping("observing", values) if n in self.names]
        if taken:
            raise ValueError(f"cell {self.name!r} has a value named {taken[0]!r}; rename the new")
        more = {n: as_expr(v) for n, v in values.items()}
        return replace(self, names={**self.names, **more}, retrace=None)

    def changing(self, changes: Mapping[str, Callable[[Expr], Expr]]) -> Cell:
        """The cell with named values replaced by functions of themselves, as a cell of its own.

        Every value that is computed from a changed one is computed from what it is changed to.

        Raises:
            ValueError: If the cell has no value of that name, or the step does not compute it.

        Example:
            >>> from gatework import cells
            >>> cells.lstm.changing({"f": lambda f: 2 * f}).names["c"] is cells.lstm.names["c"]
            False
        """
        checked_mapping("changing", changes)
        check_known("value", changes, self.names, f"cell {self.name!r}")
        cell = self
        for name, change in changes.items():
            value = cell.names[name]
            if not value.args:
                raise ValueError(
                    f"{name!r} of cell {self.name!r} is {value}, which the step does not compute, "
                    "so it cannot be changed; change the value that it is a copy of"
                )
            cell = cell.substituted({value: change(value)}, self.name)
        return cell

    @of_the_cell(1)
    def deterministic(self) -> Cell:
        """The cell in eval mode: each random row at its expected value, every weight whole."""
        expected: dict[Expr, Expr] = {
            n.symbol: const(n.probability, n.symbol.size) for n in self.noises
        }
        whole = replace(self, weight_drops=()) if self.weight_drops else self
        return whole.substituted(expected, self.name)

    def without_bias(self) -> Cell:
        """The cell whose linear maps have no bias."""
        biases: dict[Expr, Expr] = {
            node: const(0, node.size)
            for node in postorder(self.named_values())
            if isinstance(node, Symbol) and node.name.startswith("bias_") and "." in node.name
        }
        return self.substituted(biases, self.name)

    @property
    def output_value(self) -> Expr:
        """The output of a step: the new value of the first state, unless the cell says another."""
        return self.next_states[0] if self.output is None else self.output

    @property
    def output_name(self) -> str:
        """What the output is called: as the first state, or "output" where it is none."""
        return self.states[0].name if self.output is None else OUTPUT

    def results(self) -> tuple[Expr, ...]:
        """What a step computes: the new states, and the output where it is none of them."""
        return self.next_states if self.output is None else (*self.next_states, self.output)

    def result_names(self) -> tuple[str, ...]:
        """What the results are called, in their order."""
        states = tuple(s.name for s in self.states)
        return states if self.output is None else (*states, OUTPUT)

    def named_values(self) -> tuple[Expr, ...]:
        """The results and every named value."""
        return (*self.results(), *self.names.values())

    def substituted(self, values: Mapping[Expr, Expr], name: str) -> Cell:
        """The cell with values replaced; parameters that are no longer read are gone."""
        if not values:
            return self
        return replace(self, name=name).with_values(substitute(self.named_values(), values))

    def with_values(self, values: tuple[Expr, ...]) -> Cell:
        """The cell with other results and named values, in the order of `named_values`.

        Parameters and noises that the results no longer read are gone; those that only a named
        value read, which is observed alone, stay as long as one does.
        """
        count = len(self.results())
        results, named = values[:count], values[count:]
        read, seen = set(postorder(results)), set(postorder(named))
        before = set(postorder(self.results()))
        used = read | (seen - before)
        blocks = _blocks_read(read) | (_blocks_read(seen) - _blocks_read(before))
        new = [expand(n, v.size) for n, v in zip(results, self.results(), strict=True)]
        return replace(
            self,
            next_states=tuple(new[: len(self.states)]),
            output=None if self.output is None else new[-1],
            names=dict(zip(self.names, named, strict=True)),
            parameters=_used_parameters(self.parameters, blocks),
            noises=tuple(n for n in self.noises if n.symbol in used),
            retrace=None,
        )

    def _gives(self, value: Expr) -> bool:
        """Whether a value is computed from parameters and noises that the cell has."""
        nodes = set(postorder((value,)))
        blocks = {(p.name, block) for p in self.parameters for block in p.blocks}
        known = {*self.inputs, *(n.symbol for n in self.noises)}
        drawn: tuple[Role, ...] = ("sequence", "constant")
        rows = {n for n in nodes if isinstance(n, Symbol) and n.role in drawn}
        return _blocks_read(nodes) <= blocks and rows <= known

    def observables(self) -> dict[str, Expr]:
        """The named values that are neither states nor the output nor what goes into a function.

        Which of them are gates is found by `gatework.analysis.gates.named_gates`.
        """
        results = self.result_names()
        return {n: v for n, v in self.names.items() if n not in results and "." not in n}

    def size_names(self) -> tuple[str, ...]:
        """The sizes a layer must know beside the input's and the hidden size."""
        return tuple(sorted(self._names_of_sizes() - {"input", "hidden"}))

    def has_hidden_size(self) -> bool:
        """Whether any value has the hidden size; of a cell with axes perhaps none has."""
        return "hidden" in self._names_of_sizes()

    @of_the_cell(1)
    def _names_of_sizes(self) -> frozenset[str]:
        nodes = (*self.further, *self.states, *postorder(self.named_values()))
        bounds = {size for n in nodes if isinstance(n, Arrange) for size in n.bounds()}
        return frozenset(n for size in {n.size for n in nodes} | bounds for n in names_in(size))

    @of_the_cell(1)
    def axis_names(self) -> tuple[str, ...]:
        """The axes of its values, where any has several: not the hidden size, nor the input's."""
        nodes = (*self.inputs, *self.states, *postorder(self.named_values()))
        sizes = {n.size for n in nodes if has_axes(n.size)}
        found = {axis for size in sizes for axis in names_in(size)}
        return tuple(sorted(found - {"hidden", "input"}))

    @of_the_cell(1)
    def axis_order(self) -> tuple[str, ...]:
        """The axes of its values in the order of their slots, where any has several."""
        nodes = (*self.inputs, *self.states, *postorder(self.named_values()))
        shapes = [slots(n.size) for n in nodes if has_axes(n.size)]
        columns = zip(*shapes, strict=True)
        return tuple(next(filter(str.isidentifier, column), SCALAR) for column in columns)

    def axis_lengths(self, hidden_size: int, given: Mapping[str, int]) -> dict[str, int]:
        """How long each axis is, those that are not given as a layer takes them.

        The axes of the output make the hidden size together: those before the last are 4 long, or
        the largest divisor below it. Other axes, such as that of the keys, are 16 long, or as long
        as what is read along them by `rename`. Those of a further input alone must be given.

        Args:
            hidden_size: The size of the output.
            given: The lengths of some axes.

        Raises:
            ValueError: If the output's axes do not make the hidden size.

        Example:
            >>> from gatework import cells
            >>> cells.gated_delta_net.axis_lengths(128, {"key": 32})
            {'head': 4, 'key': 32, 'value': 32}
        """
        read = {axis for row in self.further for axis in names_in(row.size)}
        read -= {axis for row in self.states for axis in names_in(row.size)}
        axes = [axis for axis in self.axis_names() if axis not in read]
        found = {axis: given.get(axis, KEYS) for axis in axes}
        whole = slots(self.output_value.size)
        own = [axis for axis in whole if axis in axes and "hidden" not in whole]
        left = hidden_size
        for axis in own:
            open_ = axis not in given
            if open_:
                few = max(n for n in range(1, HEADS + 1) if left % n == 0)
                found[axis] = left if axis == own[-1] else few
            if left % found[axis]:
                break
            left //= found[axis]
        if own and left != 1:
            made = " × ".join(f"{axis}={given[axis]}" for axis in own if axis in given)
            say = "divide" if any(axis not in given for axis in own) else "make"
            raise ValueError(
                f"the output of cell {self.name!r} has {made} units, which {say} no hidden_size of "
                f"{hidden_size}; leave hidden_size out, or one of these"
            )
        fixed = {**given, **{axis: found[axis] for axis in own}, "hidden": hidden_size}
        return {**found, **self.renamed_lengths(fixed)}

    def renamed_lengths(self, known: Mapping[str, int]) -> dict[str, int]:
        """The lengths of axes that `rename` reads as those of known lengths, or these as those."""
        found = dict(known)
        for pair in self._renames():
            for one, other in (pair, pair[::-1]):
                if one in found:
                    found.setdefault(other, found[one])
        return {axis: n for axis, n in found.items() if axis not in known}

    @of_the_cell(1)
    def _renames(self) -> tuple[tuple[str, str], ...]:
        nodes = postorder(self.named_values())
        return tuple(pair for n in nodes if isinstance(n, Arrange) for pair in n.renames())

    def usual_sizes(
        self, hidden_size: int, given: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """A number for every size that the cell names: half the hidden size, and lengths of axes.

        Args:
            hidden_size: The hidden size.
            given: The numbers of some.

        Example:
            >>> from gatework import cells
            >>> cells.projected_lstm.usual_sizes(128)
            {'proj_size': 64}
        """
        plain, given = dict.fromkeys(self.size_names(), max(1, hidden_size // 2)), given or {}
        return {**plain, **given, **self.axis_lengths(hidden_size, given)}

    def check_sizes(self, sizes: Sizes) -> None:
        """Raise unless every size has a number of units, and parts of rows fit into them.

        Raises:
            ValueError: If a number does not come out, or a part or an index does not fit.
        """
        try:
            for node, size in self._composed():
                units(size, sizes)
                if isinstance(node, Arrange):
                    node.check(sizes)
        except ValueError as error:
            raise ValueError(f"in cell {self.name!r}, {error}") from error

    @of_the_cell(1)
    def _composed(self) -> tuple[tuple[Expr, str], ...]:
        """The values whose size, or that which they count, is made of others; parts of rows."""
        nodes = postorder(self.named_values())
        sizes = ((n, n.of if isinstance(n, Count) else n.size) for n in nodes)
        return tuple((n, s) for n, s in sizes if isinstance(n, Arrange) or not s.isidentifier())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "retrace": None}  # the traced function is no part of the equations

    def __deepcopy__(self, memo: Any) -> Cell:
        return self

    def __repr__(self) -> str:
        inputs, states = ([s.name for s in rows] for rows in (self.inputs, self.states))
        arguments = [*inputs, "/", *states] if self.further else [*inputs, *states]
        return f"<cell {self.name}({', '.join(arguments)})>"


def _blocks_read(nodes: Iterable[Expr]) -> set[tuple[str, str]]:
    """The blocks of parameters among some values."""
    read: set[tuple[str, str]] = set()
    for node in nodes:
        if isinstance(node, Product):
            read.add(block_of(node.matrix))
        elif isinstance(node, Symbol) and node.role == "parameter":
            read.add(block_of(node))
    return read


def _used_parameters(
    parameters: Iterable[Parameter], blocks: set[tuple[str, str]]
) -> tuple[Parameter, ...]:
    kept = (p.only({block for name, block in blocks if name == p.name}) for p in parameters)
    return tuple(p for p in kept if p is not None)


def check_cell(word: str, given: Any) -> None:
    """Raise unless a function of cells was given one."""
    if not isinstance(given, Cell):
        hint = "give the layer's: layer.cell" if hasattr(given, "cell") else "made by gatework.cell"
        raise TypeError(f"{word} expects a cell, {hint}; got {type(given).__name__}")


def checked_mapping(word: str, given: Any) -> Mapping[str, Any]:
    """What was given by names of values."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{word} expects a mapping from names of values, such as {{'f': …}}; "
            f"got {type(given).__name__}"
        )
    return given


def as_names(word: str, given: Any) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    if not isinstance(given, Iterable):
        raise TypeError(f"{word} expects a name or several, got {type(given).__name__}")
    return (given,) if isinstance(given, str) else tuple(given)


def check_known(kind: str, given: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raise a ValueError that suggests the near name when a given name is not known."""
    names = list(known)
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"{owner} calls each {kind} by a string, got {name!r}")
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
            raise ValueError(f"{owner} has no {kind} named {name!r}; {hint}")
