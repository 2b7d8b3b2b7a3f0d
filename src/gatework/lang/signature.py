"""What the arguments of a cell's function stand for: inputs, states and constants.

    def my_cell(x, gap, /, h, c, *past, depth=2)

What stands before the slash is read from outside, else the first argument alone. Then come the
states, `*past` for as many as a constant says. Keyword-only arguments are constants.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from gatework.lang.axes import SCALAR, shape_of, slots
from gatework.lang.definition import OUTPUT, check_known, checked_mapping
from gatework.lang.expressions import Number, Role, Symbol, symbol
from gatework.lang.sizes import checked


@dataclass(frozen=True)
class Options:
    """What `@cell` is given beside the function; see there."""

    sizes: Mapping[str, str]
    given: Mapping[str, str | Sequence[str]]
    axes: Mapping[str, Sequence[str]]
    repeat: str | None
    output: bool


@dataclass(frozen=True)
class Signature:
    """What the arguments stand for.

    Attributes:
        inputs: What is read from outside, the input first.
        axes: The axes of the cell in one order: those of its states and inputs, then the others.
        output: Whether the function returns the output apart from the states.
        constants: The constants and their defaults.
    """

    inputs: tuple[Symbol, ...]
    axes: tuple[str, ...]
    output: bool
    constants: Mapping[str, Number]
    _named: tuple[str, ...]  # states
    _star: str | None  # what those are called that are repeated
    _repeat: str | None  # the constant that counts them
    _sizes: Mapping[str, str]

    def states(self, constants: Mapping[str, Number]) -> tuple[Symbol, ...]:
        """The states, for these values of the constants."""
        repeated = (f"{self._star}{k + 1}" for k in range(_times(self._repeat, constants)))
        names = (*self._named, *repeated)
        sizes = (_along(self.axes, checked(self._sizes.get(n, "hidden"))) for n in names)
        return tuple(symbol(n, "state", s) for n, s in zip(names, sizes, strict=True))

    def with_axes(self, names: Sequence[str]) -> Signature:
        """The same with further axes, which no state has."""
        axes = (*self.axes, *names)
        inputs = tuple(symbol(s.name, s.role, _along(axes, s.size)) for s in self.inputs)
        return replace(self, axes=axes, inputs=inputs)


def signature_of(function: Callable[..., Any], options: Options) -> Signature:
    """Read the arguments of a cell's function.

    Raises:
        TypeError: If an option is no mapping of names.
        ValueError: If the arguments are none that a cell can have; says what to write.
    """
    checked_mapping("sizes=", options.sizes)
    read_once = checked_mapping("given=", options.given)
    with_axes = {n: names for n, names in read_once.items() if isinstance(names, tuple | list)}
    every = {**checked_mapping("axes=", options.axes), **with_axes}
    axes = _order(every)
    own = {row: ",".join(names) or SCALAR for row, names in every.items()}
    sizes = {**options.sizes, **own}
    given = {n: own.get(n, size) for n, size in read_once.items()}
    arguments = inspect.signature(function).parameters.values()
    constants = {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY}
    rows = [a.name for a in arguments if a.kind not in (a.KEYWORD_ONLY, a.VAR_POSITIONAL)]
    inputs = max(1, sum(a.kind is a.POSITIONAL_ONLY for a in arguments))
    star = next((a.name for a in arguments if a.kind is a.VAR_POSITIONAL), None)
    problem = (
        _arguments_problem(arguments, constants, rows, sizes)
        or _inputs_problem(rows, inputs, {**options.sizes, **options.axes}, read_once)
        or _repeat_problem(star, options.repeat, constants)
        or _output_problem(options.output, rows)
    )
    if problem:
        raise ValueError(problem)
    read = tuple(_read(rows[:inputs], sizes, given, axes))
    states = tuple(rows[inputs:])
    found = Signature(read, (), options.output, constants, states, star, options.repeat, sizes)
    return found.with_axes(axes)


def _along(axes: Sequence[str], size: str) -> str:
    """A size that is made of axes, with a slot for each of the cell's."""
    names = {*slots(size)} - {SCALAR}
    return shape_of(axes, slots(size)) if names and names <= {*axes} else size


def _order(axes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The axes of a cell in one order, that of its states and inputs."""
    after: dict[str, set[str]] = {}
    for state, names in axes.items():
        if not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
            raise TypeError(
                f"axes= names the axes of a row in their order, {{{state!r}: ('key', 'value')}}; "
                f"got {names!r}"
            )
        if len(set(names)) < len(names) or not all(n.isidentifier() for n in names):
            raise ValueError(
                f"the axes of {state!r} need different names that are Python identifiers, got "
                f"{tuple(names)}"
            )
        for k, name in enumerate(names):
            after.setdefault(name, set()).update(names[:k])
    try:
        return tuple(TopologicalSorter(after).static_order())
    except CycleError:
        raise ValueError(
            f"axes= names the same axes in two orders: {', '.join(map(str, axes.values()))}; "
            "choose one for all"
        ) from None


def _read(
    names: list[str], sizes: Mapping[str, str], given: Mapping[str, str], axes: tuple[str, ...]
) -> list[Symbol]:
    """What the arguments stand for that are read from outside, the input first."""
    first, *others = names
    rows = [symbol(first, "sequence", checked(sizes.get(first, "input")))]
    for name in others:
        role: Role = "constant" if name in given else "sequence"
        size = given.get(name) or sizes.get(name, SCALAR)
        rows.append(symbol(name, role, shape_of(axes, (size,)) if size in axes else checked(size)))
    return rows


def _times(repeat: str | None, values: Mapping[str, Number]) -> int:
    times = 0 if repeat is None else values[repeat]
    if not isinstance(times, int) or times < (repeat is not None):
        raise ValueError(f"{repeat} counts states, so it expects an int of 1 or more, got {times}")
    return times


def _arguments_problem(
    arguments: Any, constants: Mapping[str, Any], rows: list[str], sizes: Mapping[str, str]
) -> str | None:
    if len(rows) < 2 or any(a.kind is a.VAR_KEYWORD for a in arguments):
        return "a cell takes the input and at least one state, each by name: def my_cell(x, h)"
    for argument in arguments:
        if argument.default is argument.empty or argument.kind is argument.KEYWORD_ONLY:
            continue
        if argument.kind is argument.POSITIONAL_ONLY:
            return (
                f"{argument.name!r} stands before / and has a default, but it is read from outside "
                "at every call; leave the default out"
            )
        if argument.kind is argument.POSITIONAL_OR_KEYWORD:
            return (
                f"{argument.name!r} has a default, so it would be a state; "
                f"a constant stands after a star: *, {argument.name}={argument.default!r}"
            )
    for name, value in constants.items():
        if not isinstance(value, int | float):
            return f"the constant {name!r} needs a number as its default: {name}=0.1"
    try:
        check_known("argument", sizes, rows, "the cell")
    except ValueError as error:
        return f"in sizes=, {error}"
    return None


def _inputs_problem(
    rows: list[str], inputs: int, sizes: Mapping[str, Any], given: Mapping[str, Any]
) -> str | None:
    """What is wrong with what stands before the slash, or None."""
    if len(rows) <= inputs:
        return (
            f"{', '.join(rows)} stand before / and are read from outside, so there is no state; "
            "states stand after it: def my_cell(x, gap, /, h)"
        )
    for name in rows[1:inputs]:
        if name.startswith(("d_", "pin_")) or re.fullmatch(r"noise\d+", name):
            return f"names such as {name!r} are the compiler's own; rename this input"
    for name, size in given.items():
        if name not in rows[1:inputs]:
            return (
                f"given= names {name!r}, which is none of the further inputs; they stand between "
                "the first one and a slash: def my_cell(x, speaker, /, h)"
            )
        if name in sizes:
            return f"{name!r} has a size in given= already; leave it out of sizes= and axes="
        known = isinstance(size, str) and (size.isidentifier() or size == SCALAR)
        if not known and not (isinstance(size, tuple | list) and size):
            return (
                f"given= names the size of each input, or its axes, which the layer is given as "
                f"numbers: given={{{name!r}: 'context'}} here and context=16 there; got {size!r}"
            )
    return None


def _repeat_problem(
    star: str | None, repeat: str | None, constants: Mapping[str, Any]
) -> str | None:
    if star is None and repeat is None:
        return None
    if star is None or repeat not in constants:
        return (
            "a cell takes the input and its states each by name; for a number of states, "
            "name the constant that counts them: "
            "@cell(repeat='delay') def my_cell(x, h, *past, delay=1)"
        )
    return None


def _output_problem(output: bool, rows: list[str]) -> str | None:
    if not isinstance(output, bool):
        return (
            f"output= says whether the output is no state, so it is True or False, got {output!r}"
        )
    if output and OUTPUT in rows:
        return f"{OUTPUT!r} is what the output is called; rename the argument"
    return None
