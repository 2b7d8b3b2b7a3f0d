"""One passage as a network reads it: gates and states of a few units, step by step.

T  time steps, one for each byte      H  hidden size
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.analysis.gates import named_gates
from gatework.data import Character
from gatework.lang import Cell
from gatework.lang.axes import SCALAR, has_axes, lacking, slots, within
from gatework.lang.definition import check_known
from gatework.lens.arguments import check_cell
from gatework.lens.measuring import check_finite

__all__ = ["Passage", "gate_names", "read_passage"]


@dataclass(frozen=True)
class Passage:
    """Gates and states of some units over a text.

    Attributes:
        characters: what was read; their widths add up to T.
        units: numbers of the units shown.
        gates: name to float32 [units, T]; 0 is closed, 1 is open.
        states: name to float32 [units, T].
    """

    characters: tuple[Character, ...]
    units: tuple[int, ...]
    gates: Mapping[str, NDArray[np.float32]]
    states: Mapping[str, NDArray[np.float32]]

    @property
    def steps(self) -> int:
        """T."""
        return sum(character.width for character in self.characters)

    @property
    def text(self) -> str:
        """What was read, with � for a byte that belongs to no character."""
        read = "".join(character.text for character in self.characters)
        return read.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def gate_names(cell: Cell) -> tuple[str, ...]:
    """Return the names of the cell's gates: the values between 0 and 1 that multiply something.

    Example:
        >>> from gatework import cells
        >>> gate_names(cells.lstm)
        ('i', 'f', 'o')
    """
    check_cell(cell)
    return tuple(named_gates(cell))


def read_passage(
    characters: Sequence[Character], trace: Mapping[str, Tensor], cell: Cell, units: int = 6
) -> Passage:
    """Choose units that show what the gates do, and take their part of a trace.

    Shown are the units whose gates vary most over the passage (standard deviation, added over
    the gates), or whose states do where the cell has no gate, in the order of their numbers. They
    are units of one size: that of most gates and states; those of another have no such units, and
    are left out, as is a state that is no more than an older value of another.

    A gate or state that lacks some of the first state's axes is repeated along them.

    Args:
        characters: what was read, T steps wide: `gatework.data.characters_of` makes them of bytes.
        trace: name to values [T, 1, H], from a layer's `trace`.
        cell: the cell that was traced.
        units: how many to show.

    Raises:
        ValueError: a gate or state is not finite.
    """
    check_known("traced value", gate_names(cell), trace, "the trace")
    for name in trace:
        check_finite(name, trace[name])
    values = {name: trace[name][:, 0].detach().float().numpy().T for name in trace}  # [H, T]
    first = cell.states[0]
    if has_axes(first.size):
        values = repeated(values, {n: cell.names[n].size for n in values}, first.size)
    states = [state.name for state in cell.states if state.name in values]
    gates = [n for n in gate_names(cell) if n in values]
    ((most, _),) = Counter(len(values[n]) for n in (*states, *gates)).most_common(1)
    gates, states = ([n for n in names if len(values[n]) == most] for names in (gates, states))
    liveliness = sum(values[name].std(axis=1) for name in gates or states)  # [H]
    chosen = np.sort(np.argsort(-liveliness, kind="stable")[:units])
    return Passage(
        characters=tuple(characters),
        units=tuple(int(unit) for unit in chosen),
        gates={name: values[name][chosen] for name in gates},
        states={name: values[name][chosen] for name in states},
    )


def repeated(
    values: Mapping[str, NDArray[np.float32]], sizes: Mapping[str, str], size: str
) -> dict[str, NDArray[np.float32]]:
    """Values [n, T] of the units of one size, repeated along the axes that they lack.

    Args:
        values: The values by name.
        sizes: The size of each.
        size: The size that they are to have. What does not fit into it is left out.

    Example:
        >>> import numpy as np
        >>> gate, state = np.zeros((2, 5)), np.zeros((6, 5))
        >>> both = repeated({"a": gate, "S": state}, {"a": "key,1", "S": "key,value"}, "key,value")
        >>> both["a"].shape
        (6, 5)
    """
    fitting = {n: v for n, v in values.items() if within(sizes[n], size) and sizes[n] != SCALAR}
    lengths = _lengths({sizes[n]: len(v) for n, v in fitting.items()})
    whole = [lengths.get(axis, 1) for axis in slots(size)]
    found = {}
    for name, value in fitting.items():
        if sizes[name] == size:
            found[name] = value
            continue
        shape = [lengths.get(axis, 1) for axis in slots(sizes[name])]
        spread = np.broadcast_to(value.reshape(*shape, -1), (*whole, value.shape[1]))
        found[name] = spread.reshape(-1, value.shape[1])
    return found


def _lengths(units: Mapping[str, int]) -> dict[str, int]:
    """How long each axis is, from the numbers of units of sizes that are made of them.

    The quotient of two sizes that differ by axes of which one is unknown is its length.
    """
    found: dict[str, int] = {SCALAR: 1}
    for _ in units:
        for size, total in units.items():
            for other, part in ((SCALAR, 1), *units.items()):
                more = slots(lacking(size, other)) if within(other, size) else ()
                known = math.prod(found.get(axis, 1) for axis in more)
                unknown = {axis for axis in more if axis not in found}
                found |= {axis: total // part // known for axis in unknown if len(unknown) == 1}
    return found
