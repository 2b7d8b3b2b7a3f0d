"""Tracing: `@cell` runs a function once with symbolic values and keeps its equations."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import FunctionType
from typing import Any, overload

from gatework.lang.advice import how_to_write, meant
from gatework.lang.axes import (
    SCALAR,
    has_axes,
    leads,
    of_each,
    shown,
    sized,
    slots,
    within,
)
from gatework.lang.definition import (
    OUTPUT,
    Cell,
    Noise,
    Parameter,
    Per,
    Start,
    WeightDrop,
    collecting,
)
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Expr,
    Matrix,
    Number,
    Product,
    Role,
    Symbol,
    as_expr,
    ends,
    expand,
    postorder,
    symbol,
    tracing,
)
from gatework.lang.nesting import nested
from gatework.lang.sharing import is_one_sum
from gatework.lang.signature import Options, Signature, signature_of
from gatework.lang.sizes import checked, names_in
from gatework.lang.source import kind_problem, name_of, source_of


class DefinitionError(ValueError):
    """A cell's function does something a cell cannot do; says in which line, and what to write."""


class _MoreAxes(Exception):
    """A value has axes that are not known yet: the function is run once more, knowing them."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"the axes {names} are not known yet")
        self.names = names


class _GateError(ValueError):
    """A fault of a gate that shows only when the whole cell is known."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@overload
def cell(function: Callable[..., Any]) -> Cell: ...
@overload
def cell(
    *,
    sizes: Mapping[str, str] | None = None,
    given: Mapping[str, str | Sequence[str]] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    repeat: str | None = None,
    output: bool = False,
) -> Callable[[Callable[..., Any]], Cell]: ...
def cell(
    function: Callable[..., Any] | None = None,
    *,
    sizes: Mapping[str, str] | None = None,
    given: Mapping[str, str | Sequence[str]] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    repeat: str | None = None,
    output: bool = False,
) -> Cell | Callable[[Callable[..., Any]], Cell]:
    """Turn a function of the input and the previous states into a recurrent cell.

    The function returns the new states in the order of its arguments; the first of them is the
    output, unless the output is given by itself. Keyword-only arguments are constants with a
    default.

    The input is the first argument. A cell that reads more from outside, such as a mask or the time
    since the last step, has all that it reads before a `/`; a layer is given what comes after the
    first by its name: `layer(x, gap=dt)`.

    Args:
        function: The equations of one step.
        sizes: The name of the size of a state that has not the hidden size, such as
            `{"h": "proj_size"}`; a layer then takes an argument of that name. The input's own
            size is "input"; a further input is a single number at each step unless its size stands
            here.
        given: The further inputs that are read once for a whole sequence, such as a speaker, and
            the names of their sizes: `{"speaker": "context"}`, or of their axes:
            `{"notes": ("position", "width")}`.
        axes: The names of the axes of a state that is a matrix or more, such as
            `{"S": ("key", "value")}`, or of a further input, whose lengths a layer takes by these
            names. Values that lack an axis are repeated along it.
        repeat: The name of the constant that says how many states a last argument `*past` stands
            for: `past1`, `past2`, … For cells that look back several steps.
        output: Whether the function returns the output, which may have any size, apart from the
            states: `return y, h`, or `return y, (h, c)`.

    Raises:
        DefinitionError: If the function does something a cell cannot do.
        TypeError: If it is no Python function.

    Example:
        >>> from gatework import cell, linear, sigmoid, tanh
        >>> @cell
        ... def minimal_gated_unit(x, h):  # Zhou et al. 2016
        ...     f = sigmoid(linear("f", x, h))
        ...     n = tanh(linear("n", x, f * h))
        ...     return (1 - f) * h + f * n
        >>> sorted(minimal_gated_unit.observables())
        ['f', 'n']

        A state that decays with the time since the last step.

        >>> @cell
        ... def decaying(x, gap, /, h):
        ...     return tanh(linear("n", x, h / (1 + gap)))
    """
    options = Options(sizes or {}, given or {}, axes or {}, repeat, output)
    if function is None:
        return lambda f: _define(f, options)
    return _define(function, options)


def _define(function: Callable[..., Any], options: Options) -> Cell:
    source = source_of(function)
    try:
        if (problem := kind_problem(source)) is not None:
            raise ValueError(problem)
        signature = signature_of(function, options)
    except ValueError as error:
        code = source.__code__
        raise DefinitionError(f"{code.co_filename}:{code.co_firstlineno}: {error}") from None

    def trace(values: Mapping[str, Number]) -> Cell:
        known = signature
        while True:
            try:
                return Trace(function, source, known, values).run(trace)
            except _MoreAxes as more:
                known = known.with_axes(more.names)

    return trace(signature.constants)


class Trace:
    """What is collected while the function of one cell runs."""

    def __init__(
        self,
        function: Callable[..., Any],
        source: FunctionType,
        signature: Signature,
        constants: Mapping[str, Number],
    ) -> None:
        self.function, self.source, self.title = function, source, name_of(function)
        self.constants, self.axes, self.output = constants, signature.axes, signature.output
        self.input, *self.further = signature.inputs
        self.states = signature.states(constants)
        self.inputs = {*signature.inputs}
        self.outside = {*self.inputs, *self.states}
        self.leading = (
            None if self.output else self.states[0]
        )  # the output, whose maps are weight_hh
        self.names: dict[str, Expr] = {}
        self.observed: list[str] = []
        self.linears: dict[str, list[Expr]] = {}
        self.lines: dict[str, int] = {}  # gate -> where it is first mapped
        self.mapped: dict[str, dict[Expr, bool]] = {}  # gate -> values; is their group named?
        self.doubtful: dict[str, int] = {}  # gate -> where it looks like one weight on two values
        self.groups: dict[str, Expr] = {}
        self.columns: dict[str, str] = {}  # group -> the size that its matrices map
        self.per: dict[str, str | None] = {}  # group -> the axis along which they are diagonal
        self.own: set[Matrix] = set()  # those of gates: not of maps, nor of cells inside
        self.maps: dict[str, int] = {}  # name -> where it is made
        self.prefixes: set[str] = set()  # of cells inside
        self.weight_drops: list[WeightDrop] = []
        self.stacks: dict[str, list[tuple[str, str]]] = {}  # parameter -> blocks and their sizes
        self.vectors: dict[str, Parameter] = {}
        self.norms: dict[str, Parameter] = {}  # gains and biases, which a norm used again shares
        self.starts: dict[str, tuple[float | Start | None, bool]] = {}  # of maps: init, learned
        self.noises: list[Noise] = []

    # ---- running -------------------------------------------------------------------------------

    @classmethod
    def current(cls, word: str) -> Trace:
        """The trace under way."""
        trace = collecting.get()
        if not isinstance(trace, Trace):
            raise DefinitionError(f"{word} works inside a function marked @cell")
        return trace

    def run(self, retrace: Callable[[Mapping[str, Number]], Cell]) -> Cell:
        """Trace the function and build the cell."""
        tokens: tuple[Token[Any], Token[Any]] = (collecting.set(self), tracing.set(True))
        try:
            rows = (self.input, *self.further, *self.states)
            returned = self.function(*rows, **self.constants)
            output, returned = self.split_output(returned) if self.output else (None, returned)
            next_states = self.checked_states(returned)
            self.finish_names(next_states, output)
        except _MoreAxes:
            raise
        except Exception as error:
            raise DefinitionError(self.located(error)) from error
        finally:
            collecting.reset(tokens[0])
            tracing.reset(tokens[1])
        return Cell(
            name=self.title,
            doc=inspect.getdoc(self.source) or "",
            input=self.input,
            states=self.states,
            next_states=next_states,
            names=self.names,
            parameters=self.parameters(),
            noises=tuple(self.noises),
            weight_drops=tuple(self.weight_drops),
            constants=dict(self.constants),
            further=tuple(self.further),
            retrace=retrace,
            output=output,
        )

    def split_output(self, returned: Any) -> tuple[Expr, Any]:
        """What the function returned, as the output and what it returned of the states."""
        names = ", ".join(s.name for s in self.states)
        form = f"return y, {names if len(self.states) == 1 else f'({names})'}"
        if not isinstance(returned, tuple) or len(returned) != 2:
            got = f"{len(returned)} values" if isinstance(returned, tuple) else "one value"
            raise TypeError(
                f"a cell with output=True returns its output and then its new states, {form}; "
                f"this one returns {got}"
            )
        if returned[0] is None:
            raise TypeError(f"the cell returns None as its output; {form}")
        return as_expr(returned[0]), returned[1]

    def checked_states(self, returned: Any) -> tuple[Expr, ...]:
        """What the function returned, as one new value for each state."""
        values = returned if isinstance(returned, tuple) else (returned,)
        wanted = ", ".join(s.name for s in self.states)
        apart = len(values) == 2 and isinstance(values[1], tuple)
        if len(values) != len(self.states) or apart:
            hint = "" if self.output else _output_hint(len(values) - len(self.states), apart)
            raise TypeError(
                f"the cell has {len(self.states)} state(s) ({wanted}) but returns {len(values)} "
                f"value(s); return one new value for each state, in their order{hint}"
            )
        if any(v is None for v in values):
            raise TypeError(f"the cell returns None; return the new value of {wanted}")
        new = tuple(as_expr(v) for v in values)
        for state, value in zip(self.states, new, strict=True):
            if not within(value.size, state.size):
                own, new_size = shown(state.size), shown(value.size)
                word = "axes" if has_axes(value.size) else "sizes"
                raise ValueError(
                    f"the new {state.name!r} has the size {new_size} but the state has {own}; map "
                    f"it with linear(name, v, size={own}), or give the state its size with "
                    f"@cell({word}={{{state.name!r}: {new_size}}})"
                )
        return tuple(expand(v, s.size) for v, s in zip(new, self.states, strict=True))

    def located(self, error: Exception) -> str:
        """The error's message with the line of the cell it comes from."""
        code, line = self.source.__code__, self.source.__code__.co_firstlineno
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code is code:
                line = traceback.tb_lineno
            traceback = traceback.tb_next
        if isinstance(error, _GateError):
            line = error.line or line
        source = linecache.getline(code.co_filename, line).strip()
        message = f"{_readable(str(error))}{_hint(error, source)}"
        shown = f"\n    {source}" if source else ""
        return f"{code.co_filename}:{line}: in cell {self.title!r}: {message}{shown}"

    # ---- collecting ----------------------------------------------------------------------------

    def check_name(self, name: Any, what: str) -> None:
        """Raise unless the name can be an attribute and a key."""
        if not isinstance(name, str):
            raise TypeError(f"{what} is named by a string first, got {type(name).__name__}")
        if not name.isidentifier():
            raise ValueError(f"{what} needs a name that is a Python identifier, got {name!r}")

    def size(self, given: Any) -> str:
        """The size that a word was given: the name of one, or those of its axes."""
        names = given if isinstance(given, tuple | list) else (given,)
        if isinstance(given, str) and self._axis_in(given) is None:
            return self._checked(given)
        axes = [self._axis_in(name) or name for name in names]
        if not axes or not all(isinstance(axis, str) and axis.isidentifier() for axis in axes):
            raise TypeError(
                f"size= names a size, which the layer is given as a number: size='context' here "
                f"and context=16 there; or axes, size=('key', 'value'); got {given!r}"
            )
        if len(set(axes)) < len(axes):
            raise ValueError(f"size= names each axis of a value once, got {given!r}")
        self.meet_axes(axes)
        lengths = dict(zip(axes, map(checked, names), strict=True))
        return sized([lengths.get(axis, SCALAR) for axis in self.axes])

    def meet_axes(self, names: Sequence[str]) -> None:
        """Know some axes from now on, and from the beginning on."""
        if new := [n for n in names if n not in self.axes]:
            raise _MoreAxes(new)

    def _axis_in(self, name: Any) -> str | None:
        """The axis of the cell of which a length is made, as "key/2" is of "key"."""
        made_of = names_in(name) if isinstance(name, str) and not has_axes(name) else set()
        axes = made_of & set(self.axes)
        return axes.pop() if len(made_of) == len(axes) == 1 else None

    def _checked(self, size: str) -> str:
        """A size that is no axis of the cell's, as it is always written."""
        if has_axes(size) and not names_in(size) <= set(self.axes):
            raise ValueError(f"{size!r} has axes that the cell has not: name them in axes=")
        return checked(size)

    def add_values(self, gate: str, rows: Sequence[Expr], group: str | None) -> None:
        """Remember what a gate maps; refuse a group that would have no effect.

        Doubtful is a gate that maps values of one size, which one weight could map, in calls of
        their own without naming the group of the second.
        """
        weights: dict[Expr, str] = {self.input: "weight_ih"}
        if self.leading is not None:
            weights[self.leading] = "weight_hh"
        if group is not None and all(r in weights for r in rows):
            stacked = " and ".join(f"{r} always in {weights[r]}" for r in rows)
            raise ValueError(
                f"group={group!r} would have no effect: the gate {gate!r} maps {stacked}; leave "
                "group= out. Where another value is mapped in this group, that is another weight: "
                "one weight cannot map two values"
            )
        before = self.mapped.setdefault(gate, {})
        fresh = {r: group is not None for r in rows if r not in before and r not in self.inputs}
        for value, named in fresh.items():
            for earlier, was_named in before.items():
                apart = named or (was_named and value is self.leading)
                if earlier.size == value.size and not apart:
                    self.doubtful.setdefault(gate, self._current_line())
        before.update(fresh)

    def group_of(self, row: Expr, gate: str, group: str | None, beside: Sequence[Expr]) -> str:
        """The stacked parameter whose maps read this row; the call has others `beside` it."""
        if row is self.input:
            name = "ih"
        elif row is self.leading:
            name = "hh"
        elif group is not None:
            self.check_name(group, "a group")
            name = group
        elif isinstance(row, Symbol) and row in self.outside:
            name = f"{row.name}h" if f"{row.name}h" != "ih" else "i_h"  # ih is the input's
        else:
            known = [g for g, r in self.groups.items() if r is row]
            taken = self.groups.get(f"{gate}h", row) is not row  # as hh is by the first state
            own = f"{gate}_h" if gate == "i" or taken else f"{gate}h"  # ih is the input's
            name = known[0] if known else own
        if self.groups.setdefault(name, row) is not row:
            which = "the earlier one" if isinstance(row, Symbol) else "this one"
            if any(self.groups[name] is other for other in beside):
                raise ValueError(
                    f"linear({gate!r}) is given two values that the step computes, and the weights "
                    f"of both would be weight_{name}; put them side by side, linear({gate!r}, "
                    "cat([a, b])), or map each in a linear of its own with a group="
                )
            raise ValueError(
                f"two values would be mapped in the group {name!r}; name the group of {which}: "
                "linear(…, group='another')"
            )
        return name

    def matrix(self, matrix: Matrix) -> Matrix:
        """Register one gate's weight in its group."""
        self._register(matrix)
        self.own.add(matrix)
        return matrix

    def _register(self, matrix: Matrix) -> None:
        self._stack(f"weight_{matrix.group}", matrix.gate, matrix.rows)
        self.columns[matrix.group] = matrix.cols
        if (before := self.per.setdefault(matrix.group, matrix.per)) != matrix.per:
            raise ValueError(
                f"maps per {before or matrix.per} and maps of the whole row would be stacked in "
                f"weight_{matrix.group}, which has as many columns for all; make this one a value, "
                f"u = weight({matrix.gate + '_' + matrix.group!r}, …), and map by u(v)"
            )

    def check_per(self, word: str, per: Any, sizes: Sequence[str]) -> None:
        """Raise unless an axis is the first of all these sizes, so that its maps are blocks."""
        if not isinstance(per, str) or per not in self.axes:
            has = f"it has {', '.join(self.axes)}" if self.axes else "it has none"
            raise ValueError(
                f"{word}, per={per!r}) names an axis of the cell's, given by @cell(axes=…); {has}"
            )
        for size in sizes:
            if per not in slots(size):
                raise ValueError(
                    f"{word}, per={per!r}) maps what each {per} has to what each has, and "
                    f"{shown(size)} has no such axis; leave per= out, or name the axes: "
                    f"size=({per!r}, …)"
                )
            if not leads(per, size):
                raise ValueError(
                    f"{word}, per={per!r}) needs {per!r} to be the first of several axes, and of "
                    f"{shown(size)} it is not; name it first in axes=, beside an axis of its units"
                )

    def add_map(self, name: str, init: float | Start | None, learned: bool) -> None:
        """Register a matrix that is a value of its own."""
        self.check_name(name, "a map")
        if name in self.maps or name in self.linears or f"weight_{name}" in self.stacks:
            raise ValueError(f"there are two weights named {name!r}; rename one")
        self.maps[name] = self._current_line()
        self.starts[f"weight_{name}"] = init, learned

    def map_matrix(self, name: str, rows: str, cols: str, per: str | None) -> Matrix:
        """The matrix of a map, which is known once it is applied."""
        matrix = Matrix(name, name, rows, cols, per)
        self._register(matrix)
        return matrix

    def nest(self, cell: Cell, values: Sequence[Any], prefix: str) -> Cell:
        """Another cell on values of this one. See `Cell.equations`."""
        self.check_name(prefix, "a cell inside")
        if prefix in self.prefixes:
            raise ValueError(f"there are two cells inside with the prefix {prefix!r}; change one")
        if not self.axes:
            self.meet_axes(cell.axis_order())
        inside = nested(cell, tuple(map(as_expr, values)), prefix, self.add_noise)
        self.prefixes.add(prefix)
        self.names.update(inside.names)
        self.weight_drops += inside.weight_drops
        for p in inside.parameters:
            if p.name in self.stacks or p.name in self.vectors:
                raise ValueError(f"there are two learned values named {p.name!r}; change a prefix")
            if p.blocks == (p.name,):
                self.vectors[p.name] = p
                continue
            self.stacks[p.name] = list(zip(p.blocks, p.rows, strict=True))
            self.starts[p.name] = p.init, p.learned
            if p.cols is not None:
                group = p.name.removeprefix("weight_")
                self.columns[group], self.per[group] = p.cols, p.per
        return inside

    def bias(self, group: str, gate: str, size: str) -> Symbol:
        """Register one gate's bias in its group."""
        self._stack(f"bias_{group}", gate, size)
        return symbol(f"bias_{group}.{gate}", "parameter", size)

    def _stack(self, parameter: str, block: str, size: str) -> None:
        blocks = self.stacks.setdefault(parameter, [])
        known = dict(blocks)
        if known.setdefault(block, size) != size:
            raise ValueError(
                f"the gate {block!r} is mapped to two sizes, {known[block]!r} and {size!r}"
            )
        if (block, size) not in blocks:
            blocks.append((block, size))

    def add_linear(self, gate: str, value: Expr) -> None:
        """Remember what a gate's linear map gave, in case no activation follows."""
        self.linears.setdefault(gate, []).append(value)
        self.lines.setdefault(gate, self._current_line())

    def _current_line(self) -> int:
        """The line of the cell's function that is being run."""
        frame = inspect.currentframe()
        while frame is not None and frame.f_code is not self.source.__code__:
            frame = frame.f_back
        return frame.f_lineno if frame else self.source.__code__.co_firstlineno

    def add_parameter(self, parameter: Parameter) -> Symbol:
        """Register a learned vector or scalar."""
        self.check_name(parameter.name, "a learned value")
        if parameter.name.startswith(("d_", "pin_")):
            raise ValueError(
                f"names that begin with d_ and pin_ are the compiler's own; rename the learned "
                f"value {parameter.name!r}"
            )
        if parameter.name in self.vectors:
            raise ValueError(f"there are two learned values named {parameter.name!r}; rename one")
        self.vectors[parameter.name] = parameter
        return symbol(parameter.name, "parameter", parameter.rows[0])

    def add_of_norm(self, parameter: Parameter) -> Symbol:
        """Register a gain or bias of a norm, once for all that have its name."""
        known = self.norms.get(parameter.name)
        if known is None:
            made = self.add_parameter(parameter)
            self.norms[parameter.name] = parameter
            return made
        if known != parameter:
            (before,), (size,) = known.rows, parameter.rows
            raise ValueError(
                f"a norm of one name has one gain, but {parameter.name!r} is of the size "
                f"{shown(before)} and would be of {shown(size)} here; rename one of the two"
            )
        return symbol(parameter.name, "parameter", parameter.rows[0])

    def add_noise(self, probability: float, per: Per, size: str) -> Symbol:
        """Register a random row that is 1 with this probability, 0 otherwise."""
        roles: dict[Per, Role] = {"step": "sequence", "sequence": "constant"}
        if per not in roles:
            raise ValueError(f"per= expects 'step' or 'sequence', got {per!r}")
        noise = symbol(f"noise{len(self.noises)}", roles[per], size)
        self.noises.append(Noise(noise, probability))
        return noise

    # ---- names ---------------------------------------------------------------------------------

    def name(self, name: str, value: Expr) -> None:
        """Give a value its name; what goes into an activation is `name.pre`."""
        if self.names.setdefault(name, value) is not value:
            raise ValueError(f"two values are named {name!r}; give one of them another name")
        if isinstance(value, Apply) and len(value.args) == 1 and value.function != "neg":
            self.names.setdefault(f"{name}.pre", value.args[0])
        self.observed.append(name)

    @staticmethod
    def name_activation(argument: Expr, result: Expr) -> None:
        """Give a gate's name to the activation of its linear map.

        That is the first activation whose argument depends on the maps of one gate alone, reached
        without passing through another named value: σ(linear("i", …) + p * c) is "i".
        """
        trace = collecting.get()
        if not isinstance(trace, Trace):
            return
        gates = trace._gates_reaching(argument)
        if len(gates) == 1:
            (gate,) = gates
            if gate not in trace.names:
                trace.names[gate] = result
                trace.names[f"{gate}.pre"] = argument

    def _gates_reaching(self, value: Expr) -> set[str]:
        named = {v for n, v in self.names.items() if not n.endswith(".pre")}

        def inside(node: Expr) -> bool:
            return not isinstance(node, Product) and node not in named and not _is_part(node)

        maps = (n.matrix for n in ends(value, inside) if isinstance(n, Product))
        return {matrix.gate for matrix in maps if matrix in self.own}

    def finish_names(self, next_states: tuple[Expr, ...], output: Expr | None) -> None:
        """Name the gates without activation and the results; refuse a name with two meanings."""
        for gate, values in self.linears.items():
            if gate not in self.names and len(set(values)) == 1:
                self.names[gate] = values[0]
        for state, value in zip(self.states, next_states, strict=True):
            if self.names.setdefault(state.name, value) is not value:
                message = "names a gate and a state that are not the same value; rename the gate"
                raise _GateError(f"{state.name!r} {message}", self.lines.get(state.name))
        given = () if output is None else (output,)
        if output is not None and self.names.setdefault(OUTPUT, output) is not output:
            message = "is what the output is called, and names another value; rename that"
            raise _GateError(f"{OUTPUT!r} {message}", self.lines.get(OUTPUT))
        roots = (*next_states, *given, *(self.names[n] for n in self.observed))
        read = set(postorder(roots))
        matrices = {n.matrix for n in read if isinstance(n, Product)}
        self._check_used("gate", self.lines, {m.gate for m in matrices & self.own})
        self._check_used("map", self.maps, {m.group for m in matrices - self.own})
        for gate, line in self.doubtful.items():
            if not is_one_sum(gate, roots):
                raise _GateError(
                    f"the gate {gate!r} maps two values, which looks like one weight and is two, "
                    f"one for each value; one weight is a value, u = weight({gate!r}), and maps "
                    "as often as you like, u(v); for two, give the second map a name of its own, "
                    f"such as linear({gate + '2'!r}, …), or say so: group=…",
                    line,
                )
        stacked = [name for name in self.vectors if name in self.stacks]
        if stacked:
            raise ValueError(
                f"the learned value {stacked[0]!r} has the name of the stacked maps; rename it"
            )

    def _check_used(self, what: str, made: Mapping[str, int], used: set[str]) -> None:
        unused = next((name for name in made if name not in used), None)
        if unused is not None:
            message = "is never used; nothing the cell returns depends on it"
            raise _GateError(f"the {what} {unused!r} {message}", made[unused])

    def parameters(self) -> tuple[Parameter, ...]:
        """The tensors: weights then biases by group, as torch orders them, then vectors."""
        stacks = sorted(self.stacks.items(), key=_torch_order)
        matrices = [self._stacked(name, blocks) for name, blocks in stacks]
        return (*matrices, *self.vectors.values())

    def _stacked(self, name: str, blocks: list[tuple[str, str]]) -> Parameter:
        kind, _, group = name.partition("_")
        per = self.per[group] if kind == "weight" else None
        cols = of_each(self.columns[group], per) if kind == "weight" else None
        init, learned = self.starts.get(name, (None, True))
        rows = tuple(s for _, s in blocks)
        return Parameter(name, tuple(b for b, _ in blocks), rows, cols, init, learned, per)


def _output_hint(more: int, apart: bool) -> str:
    """What to write where a cell seems to return an output that is no state."""
    if more != 1 and not apart:
        return ""
    return "; an output that is no state stands apart, return y, states, in a @cell(output=True)"


def _is_part(node: Expr) -> bool:
    """Whether it is one of several values that are cut from a row, none of them the whole gate."""
    return isinstance(node, Arrange) and node.kind == "part"


def _torch_order(item: tuple[str, Any]) -> int:
    """weight_ih, weight_hh, bias_ih, bias_hh, and the other groups after them."""
    order = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return order.index(item[0]) if item[0] in order else len(order)


def _readable(message: str) -> str:
    """A message of Python's own, without the names of this package's classes."""
    return re.sub(
        r"'(Symbol|Apply|Product|Reduce|Arrange|Const|Count)'( object)?", "a cell's value", message
    )


def _hint(error: Exception, line: str) -> str:
    """What to write instead, as far as the line or the message tells what was wanted."""
    from gatework.lang import words  # which stand on this module

    message = str(error)
    if isinstance(error, NameError) and error.name:
        advice = meant(error.name, called=f"{error.name}(" in line)
        return f"; {advice}" if advice else ""
    function = re.search(r"\bc?math\.(\w+)\(", line) if "module math" in message else None
    if function:
        return f"; {how_to_write(function[1])}"
    if message == "'str' object is not callable" and ".size(" in line:
        return "; the size of a cell's value is a name: a number once a layer is built"
    unknown = re.match(r"(\w+)\(\) got an unexpected keyword argument", message)
    if unknown is None or unknown[1] not in words.__all__:
        return ""
    taken = inspect.signature(getattr(words, unknown[1])).parameters
    return f"; {unknown[1]} takes {', '.join(taken)}"
