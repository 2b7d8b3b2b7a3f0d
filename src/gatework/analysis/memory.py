"""Where a cell's memory runs, and how much of it stays: found from its equations.

A state s reaches its new value s' in two ways: through matrices and sums, which mix the units, and
unit by unit, if at another place. The second way is memory: c' = f ⊙ c + … keeps the share f of
every unit.
"""

from __future__ import annotations

from gatework.analysis.calculus import own_slope
from gatework.analysis.gates import hands_on
from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Expr, postorder


def retention(cell: Cell) -> dict[str, Expr]:
    """∂s'/∂s of each state s, unit by unit: through no matrix and no sum over the units.

    This is the diagonal part of the step's Jacobian: the LSTM's memory c keeps the share f, the
    GRU's h keeps z, the vanilla RNN's h, which is always written anew, keeps 0. Ways through
    peepholes and other functions of the state are part of it. Where a step puts every unit
    into another place, as a roll or a shift does, the share is that of what arrives at a unit.

    Args:
        cell: Any cell.

    Returns:
        An expression for each state, by the state's name. It lacks the axes of the state along
        which the share is the same. To see it at every step of a sequence, give it a name in the
        cell: `cell.observing({"kept": retention(cell)["c"]})`.

    Example:
        >>> from gatework import cells
        >>> retention(cells.lstm)["c"] is cells.lstm.names["f"]
        True
        >>> retention(cells.rnn)
        {'h': 0}
        >>> retention(cells.gated_delta_net)["S"] is cells.gated_delta_net.names["a"]  # per head
        True
    """
    pairs = zip(cell.states, cell.next_states, strict=True)
    return {s.name: own_slope(new, s) for s, new in pairs}


def memory_of(cell: Cell) -> set[tuple[Expr, Expr]]:
    """The memory's path: every step from a state to its own new value that is arithmetic alone.

    Returns:
        The steps as (value, what is computed from it). Empty where each state is overwritten, as
        in the vanilla RNN. The gates on the way are no part of the path.
    """
    steps: set[tuple[Expr, Expr]] = set()
    for state, new in zip(cell.states, cell.next_states, strict=True):
        carrying: set[Expr] = {state}
        for node in postorder([new]):
            if any(a in carrying for a in _carried(node)):
                carrying.add(node)
        if new not in carrying:
            continue
        reached, open_ = {new}, [new]
        while open_:
            node = open_.pop()
            for a in _carried(node):
                if a in carrying:
                    steps.add((a, node))
                    if a not in reached:
                        reached.add(a)
                        open_.append(a)
    return steps


def _carried(node: Expr) -> tuple[Expr, ...]:
    """The arguments that a node hands on: not the condition of a `where`."""
    if not hands_on(node):
        return ()
    if not isinstance(node, Apply):
        return node.args
    if node.function == "surrogate":
        return node.args[:1]
    return node.args[1:] if node.function == "where" else node.args
