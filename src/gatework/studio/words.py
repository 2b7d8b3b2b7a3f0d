"""A cell's values and gates in words, and what it becomes with gates held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from gatework.analysis.equivalence import equivalent
from gatework.analysis.gates import keepers, writers
from gatework.cells import catalogue
from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Arrange, Product, Reduce, postorder
from gatework.show import cell_svg
from gatework.show.explanation import explain

__all__ = ["Worded", "picture"]

WORDS = {
    ("lstm", "i"): "input gate: what enters the memory",
    ("lstm", "f"): "forget gate: what stays in it",
    ("lstm", "o"): "output gate: what leaves it",
    ("lstm", "g"): "candidate: what could enter",
    ("lstm", "c"): "memory cell",
    ("gru", "r"): "reset gate: how much of the past the candidate sees",
    ("gru", "z"): "update gate: how much of the past is carried over",
    ("gru", "n"): "candidate: the new state, if the past is let go",
}
"""What people call the values of the best known cells."""


class Worded:
    """Words for the values of a cell.

    Args:
        cell: whose.
        gates: those of its values that can be held.
        own: whether it is somebody's own cell, not the catalogue's of that name.
    """

    def __init__(self, cell: Cell, gates: Collection[str], *, own: bool) -> None:
        self.cell, self.gates, self.own = cell, gates, own

    def kind(self, name: str) -> str:
        """Whether a value is a "gate", a "state" or another "value"."""
        states = [s.name for s in self.cell.states]
        return "gate" if name in self.gates else "state" if name in states else "value"

    def words(self, name: str) -> str:
        """What a value does."""
        if known := self._known(name):
            return known
        kind, is_output = self.kind(name), name == self.cell.output_name
        if kind == "state":
            return "state, and output of the cell" if is_output else "state"
        if is_output:
            return "output of the cell"
        for state, gates in keepers(self.cell).items():
            for gate in gates:
                if gate.name == name:
                    end = "open" if gate.keeps else "closed"
                    return f"gate: {end}, it keeps {state}"
        return "gate" if kind == "gate" else "value within the step"

    def tries(self) -> list[dict[str, Any]]:
        """What to try first: gates to hold, by what they do to the memory, in a few words."""
        kept = [k for gates in keepers(self.cell).values() for k in gates if k.name in self.gates]
        written = {v for gates in writers(self.cell).values() for v in gates}
        others = [n for n in self.gates if n not in {k.name for k in kept}]
        found = []
        for gate in kept[:1]:
            assert gate.name is not None
            found.append(self._try(gate.name, not gate.keeps, "it forgets"))
            found.append(self._try(gate.name, gate.keeps, "it keeps"))
        writing = [n for n in others if self.cell.names[n] in written]
        if writing:
            found.append(self._try(writing[0], False, "nothing new comes in"))
        elif others:
            found.append(self._try(others[0], False, "nothing passes it"))
        return found

    def _try(self, name: str, is_open: bool, then: str) -> dict[str, Any]:
        """A button that holds a gate: its words, and what it holds."""
        known = self._known(name)
        gate = f"the {known.partition(':')[0]}" if known else name
        words = f"{'Open' if is_open else 'Close'} {gate}: {then}"
        return {"words": words, "hold": {name: float(is_open)}}

    def _known(self, name: str) -> str:
        """What people call a value; "" where they do not."""
        return "" if self.own else WORDS.get((self.cell.name, name), "")


def picture(cell: Cell, pins: Mapping[str, float]) -> dict[str, Any]:
    """A cell with gates held: its picture, its equations, and the cell it has become."""
    held = cell.pin(dict(pins)) if pins else cell
    known = {"rnn": catalogue()["rnn"], **catalogue()}
    twin = next((n for n, c in known.items() if pins and _same(held, c)), None)
    return {
        "svg": cell_svg(held),
        "equations": list(explain(held).equations),
        "becomes": twin and {"name": twin, "doc": known[twin].doc.partition("\n")[0]},
    }


def _same(cell: Cell, other: Cell) -> bool:
    """Whether two cells are the same, asked only where they have the same maps and functions.

    Cells with sums over the units are passed over: to match their many equal parts takes too long.
    """
    parts = _parts(cell)
    return parts == _parts(other) and not parts["sums"] and equivalent(cell, other)


def _parts(cell: Cell) -> Counter[str]:
    """How many states, maps, sums over the units, and functions of each kind a cell has."""
    found = Counter({"states": len(cell.states)})
    for node in postorder(cell.results()):
        if isinstance(node, Product):
            found["maps"] += 1
        elif isinstance(node, Reduce):
            found["sums"] += 1
        elif isinstance(node, Arrange):
            found[node.kind] += 1
        elif isinstance(node, Apply) and node.function not in ("add", "sub", "mul", "neg"):
            found[node.function] += 1
    return found
