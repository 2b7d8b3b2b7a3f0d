"""Which gates decide how much of a state stays: found from a cell's equations, not by name.

A state s reaches its new value s' in two ways: through matrices, which mix the units, and unit by
unit. The second way is memory: c' = f ⊙ c + … keeps the share f of every unit. Here the way is
followed on the expressions, so it is found for any cell:

    retention   ∂s'/∂s unit by unit, exactly: the share of s that is still in s'
    keepers     the gates in that share: values between 0 and 1 that multiply s on its way
    writers     the other gates: those that multiply what is added to it
    biases      the learned values by which a gate's level is set
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from gatework.compiler.derivative import RULES
from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Const, Expr, Symbol, const, postorder, substitute
from gatework.lang.ranges import Range, ranges

_ARITHMETIC = {"add", "sub", "mul", "div", "neg"}
_CONDITIONS = {"lt", "le"}


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


def retention(cell: Cell) -> dict[str, Expr]:
    """∂s'/∂s of each state s, unit by unit: through no matrix and no sum over the units.

    This is the diagonal part of the step's Jacobian: the LSTM's memory c keeps the share f, the
    GRU's h keeps z, the vanilla RNN's h, which is always written anew, keeps 0. Ways through
    peepholes and other functions of the state are part of it.

    Args:
        cell: Any cell.

    Returns:
        An expression for each state, by the state's name. To see it at every step of a sequence,
        give it a name in the cell: `cell.observing({"kept": retention(cell)["c"]})`.

    Example:
        >>> from gatework import cells
        >>> retention(cells.lstm)["c"] is cells.lstm.names["f"]
        True
        >>> retention(cells.rnn)
        {'h': 0}
    """
    pairs = zip(cell.states, cell.next_states, strict=True)
    return {s.name: derivative(new, s) for s, new in pairs}


def keepers(cell: Cell) -> dict[str, tuple[Keeper, ...]]:
    """The gates that decide how much of each state is in its new value.

    A gate is a value that a function holds between 0 and 1: a sigmoid, a softmax, an exponential
    of what is never positive. The way of the state through a gate itself, such as a peephole, is
    control and not memory; it does not count.

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
    gates, curves = _gates_and_curves(cell)
    expected: dict[Expr, Expr] = {n.symbol: const(n.probability) for n in cell.noises}
    names = {v: n for n, v in cell.gates().items()}
    result = {}
    for state, new in zip(cell.states, cell.next_states, strict=True):
        share = derivative(new, state, without=curves)
        if share is const(0, state.size):  # all of it goes through a tanh or the like
            share = derivative(new, state, without=gates)
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
    gates, curves = _gates_and_curves(cell)
    kept = {s: {k.value for k in found} for s, found in keepers(cell).items() if found}
    new = {s.name: v for s, v in zip(cell.states, cell.next_states, strict=True)}
    return {
        state: tuple(
            gate
            for gate in postorder([new[state]])
            if gate in gates - keeping
            and derivative(new[state], gate, without=curves) is not const(0, gate.size)
        )
        for state, keeping in kept.items()
    }


def biases(value: Expr) -> tuple[Symbol, ...]:
    """The learned vectors and numbers that are added to a value, as they are.

    Example:
        >>> from gatework import cells
        >>> biases(cells.lstm.names["f.pre"])
        (bias_ih.f, bias_hh.f)
    """
    learned = [n for n in postorder([value]) if isinstance(n, Symbol) and n.role == "parameter"]
    slopes = ((p, derivative(value, p)) for p in learned)
    return tuple(p for p, slope in slopes if isinstance(slope, Const) and slope.value == 1)


def derivative(value: Expr, wrt: Expr, without: Container[Expr] = ()) -> Expr:
    """∂value/∂wrt unit by unit, by forward mode; no way leads through the nodes `without`."""
    zero = const(0, wrt.size)
    found: dict[Expr, Expr] = {wrt: const(1, wrt.size)}
    for node in postorder([value]):
        if node in found:
            continue
        total: Expr = zero
        if isinstance(node, Apply) and node not in without:
            for k, argument in enumerate(node.args):
                # a rule is linear in ∂L/∂result: given ∂argument, it gives that part of ∂result
                if found[argument] is not zero:
                    part = RULES[node.function](found[argument], node, *node.args)[k]
                    total = total if part is None else total + part
        found[node] = total
    return found[value]


def _gates_and_curves(cell: Cell) -> tuple[set[Expr], set[Expr]]:
    """The gates of a cell, and everything that is not arithmetic, gates included."""
    known = ranges(cell.next_states, {n.symbol: Range(0.0, 1.0) for n in cell.noises})
    gates = {node for node, found in known.items() if _is_gate(node, found)}
    return gates, {n for n in known if isinstance(n, Apply) and n.function not in _ARITHMETIC}


def _is_gate(node: Expr, found: Range) -> bool:
    """Whether a function holds the value between 0 and 1."""
    return (
        isinstance(node, Apply)
        and node.function not in _ARITHMETIC | _CONDITIONS
        and found.low >= 0
        and found.high <= 1
    )


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
        elif isinstance(node, Apply) and node.function in _ARITHMETIC:
            stack.extend(reversed(node.args))
        elif isinstance(node, Apply) and node.function == "where":
            stack.extend(reversed(node.args[1:]))


def _direction(share: Expr, gate: Expr, expected: Mapping[Expr, Expr]) -> bool | None:
    """True when the share is larger where the gate is 1, False where it is 0, None if it varies."""
    ends = (substitute([share], {**expected, gate: const(v, gate.size)})[0] for v in (0, 1))
    closed, opened = (ranges([end], {})[end] for end in ends)
    if closed == opened:
        return None
    if closed.high <= opened.low:
        return True
    return False if opened.high <= closed.low else None
