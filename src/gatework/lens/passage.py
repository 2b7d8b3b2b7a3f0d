"""One passage as a network reads it: gates and states of a few units, step by step.

T  time steps      H  hidden size
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gatework.analysis.gates import named_gates
from gatework.data import Character
from gatework.lang import Cell
from gatework.lang.axes import has_axes
from gatework.lang.definition import check_known
from gatework.lens.arguments import check_cell
from gatework.lens.axes import Lengths, axis_lengths, label
from gatework.lens.measuring import check_finite

__all__ = ["Passage", "gate_names", "read_passage"]


@dataclass(frozen=True)
class Passage:
    """Gates and states of some units over a text, or over any other sequence.

    Where a state has axes, what is shown are places on the first of them, such as heads: the mean
    of a gate over the units there, and of a state the unit there that moves most.

    Attributes:
        characters: of a text, what was read; their widths add up to T. Else there are none.
        units: numbers of the units shown, or of the places.
        gates: name to float32 [units, T]; 0 is closed, 1 is open.
        states: name to float32 [units, T].
        axis: the axis whose places are shown; "" where units are.
        moving: of each state with axes the number of the unit shown at each place.
        lengths: of each of these how long its axes are, by name; the last is the fastest.
    """

    characters: tuple[Character, ...]
    units: tuple[int, ...]
    gates: Mapping[str, NDArray[np.float32]]
    states: Mapping[str, NDArray[np.float32]]
    axis: str = ""
    moving: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lengths: Mapping[str, Lengths] = field(default_factory=dict)

    def labels(self, name: str) -> tuple[str, ...]:
        """What the rows of a gate or state are: "17", "head 2", or "head 2, key 5, value 7"."""
        if name in self.moving:
            return tuple(label(self.lengths[name], unit) for unit in self.moving[name])
        return tuple(f"{self.axis} {unit}".strip() for unit in self.units)

    @property
    def steps(self) -> int:
        """T."""
        shown = {**self.gates, **self.states}
        return len(next(iter(shown.values())).T)

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
    characters: Sequence[Character],
    trace: Mapping[str, Tensor],
    cell: Cell,
    units: int = 6,
    *,
    sizes: Mapping[str, int] | None = None,
) -> Passage:
    """Choose units that show what the gates do, and take their part of a trace.

    Shown are the units whose gates vary most over the passage (standard deviation, added over
    the gates), or whose states do where the cell has no gate, in the order of their numbers. They
    are units of one size: that of most gates and states; those of another have no such units, and
    are left out, as is a state that is no more than an older value of another.

    Of a cell whose states have axes, places on the first axis are shown: see `Passage`. They are
    those whose gates vary most, or whose states do; gates and states that lack the axis are left
    out.

    Args:
        characters: what was read, T steps wide: `gatework.data.characters_of` makes them of bytes;
            none of a sequence that is no text.
        trace: name to values [T, 1, H], from a layer's `trace`.
        cell: the cell that was traced.
        units: how many to show.
        sizes: the layer's, from `layer.sizes(k)`; to be given where states have axes.

    Raises:
        ValueError: a gate or state is not finite, or a state has axes and there are no sizes.
    """
    check_known("traced value", gate_names(cell), trace, "the trace")
    for name in trace:
        check_finite(name, trace[name])
    values = {name: trace[name][:, 0].detach().float().numpy().T for name in trace}  # [H, T]
    states = [state.name for state in cell.states if state.name in values]
    gates = [n for n in gate_names(cell) if n in values]
    if has_axes(cell.states[0].size):
        if sizes is None:
            raise ValueError(
                f"a state of cell {cell.name!r} has axes, and their lengths are not given; "
                "read_passage(characters, trace, cell, sizes=layer.sizes(0))"
            )
        lengths = {n: axis_lengths(cell.names[n].size, sizes) for n in (*gates, *states)}
        return _places(tuple(characters), values, gates, states, lengths, units)
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


def _places(
    characters: tuple[Character, ...],
    values: Mapping[str, NDArray[np.float32]],
    gates: Sequence[str],
    states: Sequence[str],
    lengths: Mapping[str, Lengths],
    count: int,
) -> Passage:
    """A passage by places on the first axis of the first state, from values [n, T]."""
    axis = next(iter(lengths[states[0]]))
    gates, states = ([n for n in names if axis in lengths[n]] for names in (gates, states))
    at = {n: _at_places(values[n], lengths[n], axis) for n in (*gates, *states)}
    liveliness = sum(at[n].std(axis=2).mean(axis=1) for n in gates or states)  # [places]
    chosen = np.sort(np.argsort(-liveliness, kind="stable")[:count])
    within = {n: at[n][chosen].std(axis=2).argmax(axis=1) for n in states}
    numbers = {n: _at_places(np.arange(len(values[n]))[:, None], lengths[n], axis) for n in states}
    return Passage(
        characters=characters,
        units=tuple(map(int, chosen)),
        gates={n: at[n][chosen].mean(axis=1) for n in gates},
        states={n: at[n][chosen, within[n]] for n in states},
        axis=axis,
        moving={n: tuple(map(int, numbers[n][chosen, within[n], 0])) for n in states},
        lengths={n: lengths[n] for n in states},
    )


def _at_places(values: NDArray[Any], lengths: Lengths, axis: str) -> NDArray[Any]:
    """Values [n, T] by the places on an axis, [places, units there, T]."""
    whole = values.reshape(*lengths.values(), -1)
    first = np.moveaxis(whole, list(lengths).index(axis), 0)
    return first.reshape(len(first), -1, values.shape[1])
