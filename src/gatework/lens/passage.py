"""One passage as a network reads it: gates and states of a few units, step by step.

T  time steps, one for each byte      H  hidden size
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.analysis.gates import named_gates
from gatework.data import Character
from gatework.lang import Cell
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
    the gates), or whose states do where the cell has no gate, in the order of their numbers. A
    state that is no more than an older value of another has no trace and is left out.

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
    states = [state.name for state in cell.states if state.name in values]
    gates = [n for n in gate_names(cell) if len(values[n]) == len(values[cell.states[0].name])]
    liveliness = sum(values[name].std(axis=1) for name in gates or states)  # [H]
    chosen = np.sort(np.argsort(-liveliness, kind="stable")[:units])
    return Passage(
        characters=tuple(characters),
        units=tuple(int(unit) for unit in chosen),
        gates={name: values[name][chosen] for name in gates},
        states={name: values[name][chosen] for name in states},
    )
