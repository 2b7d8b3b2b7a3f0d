"""What is a gate? Found from a cell's equations, not by name.

A gate is a value that lies between 0 (closed) and 1 (open) whatever comes in, and multiplies
something. All that speaks of gates asks here: the picture, the lens, the studio, initialisation and
training.

    keepers     the gates that decide how much of a state is in its new value: the LSTM's f
    writers     the other gates that multiply what is added to that state: the LSTM's i
    biases      the learned values by which a gate's level is set
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gatework.analysis.calculus import is_zero, keeps_units, own_slope, slope
from gatework.analysis.ranges import Range, ranges
from gatework.lang.axes import within
from gatework.lang.definition import Cell, Noise, check_cell
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Expr,
    Symbol,
    const,
    ends,
    postorder,
    substitute,
)
from gatework.lang.functions import ARITHMETIC, CHOICES
from gatework.lang.keeping import of_the_cell
from gatework.lang.words import softmax

SHARE = Range(0.0, 1.0)


@of_the_cell(2)
def gates_of(cell: Cell, learned: bool = False) -> frozenset[Expr]:
    """The gates of a cell: values between 0 and 1 that multiply something.

    A value counts as multiplying where it, or what only lies between it and the product such as
    1 - z, is a factor beside something that is computed.

    Args:
        cell: Any cell.
        learned: Also those that depend on learned numbers alone, which open and close for no input.

    Example:
        >>> from gatework import cells
        >>> [n for n, v in cells.gru.names.items() if v in gates_of(cells.gru)]
        ['r', 'z']
    """
    nodes = list(postorder(cell.results()))
    within = squashed_values(nodes, cell.noises)
    noise, names = {n.symbol for n in cell.noises}, set(cell.observables().values())
    powers = {n for n in nodes if _is_power(n) and _leads_to(n, names)}
    constant = {n for n in nodes if is_made_of(n, noise) or (is_learned(n) and not learned)}
    controls: set[Expr] = set()
    for node in reversed(nodes):  # results before their arguments
        if isinstance(node, Apply) and node.function == "mul":
            factors = [a for a in node.args if not isinstance(a, Const) and a not in constant]
            if len(factors) == 2 or node in controls:
                controls |= set(factors) & within
        elif node in controls and (hands_on(node) or node in powers):
            controls |= set(node.args) & within
    return frozenset(v for v in controls - constant if not _passes_on(v, within, powers))


def named_gates(cell: Cell) -> dict[str, Expr]:
    """The gates of a cell that have a name, so that they can be looked at and held.

    Example:
        >>> from gatework import cells
        >>> list(named_gates(cells.lstm))
        ['i', 'f', 'o']
    """
    check_cell("named_gates", cell)
    gates = gates_of(cell)
    return {n: v for n, v in cell.observables().items() if v in gates}


@dataclass(frozen=True)
class Keeper:
    """A gate on the way of a state to its new value.

    Attributes:
        name: What the cell calls it; None when it has no name.
        value: Its value, between 0 and 1 for every unit.
        keeps: True when the state stays where the gate is 1 (the LSTM's f), False when it stays
            where the gate is 0 (i, where f = 1 - i).
    """

    name: str | None
    value: Expr
    keeps: bool


def keepers(cell: Cell) -> dict[str, tuple[Keeper, ...]]:
    """The gates that decide how much of each state is in its new value.

    The way of the state through a gate itself, such as a peephole, is control and not memory; it
    does not count.

    Args:
        cell: Any cell.

    Returns:
        The gates of each state, by the state's name.

    Example:
        >>> from gatework import cells
        >>> [(k.name, k.keeps) for k in keepers(cells.gru)["h"]]
        [('z', True)]
        >>> [(k.name, k.keeps) for k in keepers(cells.coupled_gate_lstm)["c"]]
        [('i', False)]
        >>> keepers(cells.rnn)
        {'h': ()}
    """
    gates, curves = gates_of(cell, learned=True), _curves(cell)
    expected: dict[Expr, Expr] = {n.symbol: const(n.probability) for n in cell.noises}
    names = {v: n for n, v in cell.observables().items()}
    result = {}
    for state, new in zip(cell.states, cell.next_states, strict=True):
        share = own_slope(new, state, without=curves)
        if is_zero(share):  # all of it goes through a tanh or the like
            share = own_slope(new, state, without=gates)
        directions = {g: _direction(share, g, expected) for g in _factors(share, gates)}
        result[state.name] = tuple(
            Keeper(names.get(gate), gate, keeps)
            for gate, keeps in directions.items()
            if keeps is not None
        )
    return result


def writers(cell: Cell) -> dict[str, tuple[Expr, ...]]:
    """The gates that multiply what is added to each state that some gate keeps: the LSTM's i.

    Args:
        cell: Any cell.

    Returns:
        The gates of each state that has keepers and are none of them, by the state's name.

    Example:
        >>> from gatework import cells
        >>> writers(cells.lstm)["c"] == (cells.lstm.names["i"],)
        True
        >>> writers(cells.gru)
        {'h': ()}
    """
    gates, curves = gates_of(cell, learned=True), _curves(cell)
    kept = {s: {k.value for k in found} for s, found in keepers(cell).items() if found}
    others = gates.difference(*kept.values())
    new = {s.name: v for s, v in zip(cell.states, cell.next_states, strict=True)}
    return {
        state: tuple(
            gate
            for gate in postorder([new[state]])
            if gate in others and not is_zero(slope(new[state], gate, without=curves))
        )
        for state in kept
    }


def biases(value: Expr) -> tuple[Symbol, ...]:
    """The learned vectors and numbers that are added to a whole value, as they are.

    Example:
        >>> from gatework import cells
        >>> biases(cells.lstm.names["f.pre"])
        (bias_ih.f, bias_hh.f)
    """
    symbols = (n for n in postorder([value]) if isinstance(n, Symbol))
    learned = [s for s in symbols if s.role == "parameter" and within(s.size, value.size)]
    slopes = ((p, slope(value, p)) for p in learned)
    return tuple(p for p, s in slopes if isinstance(s, Const) and s.value == 1)


def squashed_values(nodes: Iterable[Expr], noises: Iterable[Noise] = ()) -> set[Expr]:
    """Those of the nodes that lie between 0 and 1 whatever comes in."""
    nodes = list(nodes)
    shares = dict.fromkeys([*filter(_is_share, nodes), *(n.symbol for n in noises)], SHARE)
    found = ranges(nodes, shares)
    return {n for n in nodes if n.args and found[n].low >= 0 and found[n].high <= 1}


def _is_share(node: Expr) -> bool:
    """Whether a node is a softmax or its running sum, whose range their parts do not show."""
    if isinstance(node, Arrange) and node.kind == "cumsum":
        return _is_softmax(node.args[0])
    return _is_softmax(node)


def _is_softmax(node: Expr) -> bool:
    if not isinstance(node, Apply) or node.function != "div":
        return False
    inner = [v for v in postorder([node.args[0]]) if v.args]
    return any(softmax(v) is node for v in inner[:-1])


def is_learned(value: Expr) -> bool:
    """Whether a value depends on nothing but learned numbers and constants."""
    return all(n.role == "parameter" for n in postorder([value]) if isinstance(n, Symbol))


def is_made_of(value: Expr, symbols: Container[Expr]) -> bool:
    """Whether a value depends on some of these symbols, and on nothing else."""
    found = [n in symbols for n in postorder([value]) if isinstance(n, Symbol)]
    return bool(found) and all(found)


def hands_on(value: Expr) -> bool:
    """Whether a value is made of its arguments without squashing or summing them."""
    if isinstance(value, Arrange):
        return keeps_units(value)
    return isinstance(value, Apply) and value.function in ARITHMETIC | CHOICES


def _passes_on(value: Expr, within: set[Expr], powers: Container[Expr]) -> bool:
    """Whether a value only passes on what is between 0 and 1 already, as 1 - z and z² do."""
    computed = [a for a in value.args if a.args]
    passing = hands_on(value) or value in powers
    return passing and bool(computed) and all(a in within for a in computed)


def _is_power(value: Expr) -> bool:
    """Whether it is a power, which from 0 to 1 goes the way of its base if it stays there."""
    return isinstance(value, Apply) and value.function in ("pow", "sqrt")


def _leads_to(value: Expr, names: Container[Expr]) -> bool:
    """Whether a power without a name is made by arithmetic and powers of values that have one."""

    def inside(node: Expr) -> bool:
        return node not in names and (hands_on(node) or _is_power(node))

    found = [n for n in ends(value, inside) if not isinstance(n, Const)]
    return value not in names and all(n in names for n in found)


def _curves(cell: Cell) -> set[Expr]:
    """What a cell computes that is not arithmetic, gates included."""
    nodes = postorder(cell.next_states)
    return {n for n in nodes if isinstance(n, Apply) and n.function not in ARITHMETIC}


def _factors(share: Expr, gates: Container[Expr]) -> Iterator[Expr]:
    """The gates that a share is made of by arithmetic."""
    seen: set[Expr] = set()
    stack = [share]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in gates:
            yield node
        elif isinstance(node, Apply) and node.function == "where":
            stack.extend(reversed(node.args[1:]))
        elif isinstance(node, Arrange) or _is_arithmetic(node):
            stack.extend(reversed(node.args))


def _is_arithmetic(node: Expr) -> bool:
    """Whether a value is made by arithmetic, powers by a number included."""
    return isinstance(node, Apply) and (node.function in ARITHMETIC or _is_power(node))


def _direction(share: Expr, gate: Expr, expected: Mapping[Expr, Expr]) -> bool | None:
    """True when the share is larger where the gate is 1, False where it is 0, None if it varies."""
    ends = (substitute([share], {**expected, gate: const(v, gate.size)})[0] for v in (0, 1))
    closed, opened = (ranges([end], {})[end] for end in ends)
    if closed == opened:
        return None
    if closed.high <= opened.low:
        return True
    return False if opened.high <= closed.low else None
