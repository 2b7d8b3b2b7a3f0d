"""The parameters of a layer or a single step: what they are called, and how they are found.

Legend: n the size of a state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from gatework.autograd.job import Job
from gatework.lang.definition import Cell
from gatework.lang.sizes import Sizes


class Direction(NamedTuple):
    """One layer of a stack in one direction. A single step is a stack of one.

    Attributes:
        place: The number of the layer, and that of the direction: 1 for the reverse one, else 0.
        sizes: How many units each size has.
        units: n of each state.
        names: What the module calls the cell's parameters, in the cell's order.
        initial: What it calls the learned initial states, if there are any.
        jobs: What runs it, by whether in training mode.
    """

    place: tuple[int, int]
    sizes: Mapping[str, int]
    units: list[int]
    names: list[str]
    initial: list[str]
    jobs: Mapping[bool, Job]


Stack = Sequence[Sequence[Direction]]
"""Each layer's directions, from the lowest layer up."""

SUFFIXES = ("", "_reverse")


def stack(
    cells: Mapping[bool, Cell],
    sizes: Mapping[str, int],
    num_layers: int,
    num_directions: int,
    learned_state: bool,
) -> Stack:
    """Layers of a cell, each of which reads the output of the one below.

    Args:
        cells: The cell, by whether in training mode.
        sizes: How many units each size has in the lowest layer.
        num_layers: How many layers there are.
        num_directions: In how many directions each of them runs.
        learned_state: Whether the initial states are parameters.
    """
    output, of_layers = cells[True].output_value.size, [Sizes.of(sizes)]
    for below in range(num_layers - 1):
        read = of_layers[below][output] * num_directions
        of_layers.append(Sizes.of({**sizes, "input": read}))
    return [
        [
            direction(cells, of_layer, f"_l{k}{suffix}", (k, d), learned_state)
            for d, suffix in enumerate(SUFFIXES[:num_directions])
        ]
        for k, of_layer in enumerate(of_layers)
    ]


def direction(
    cells: Mapping[bool, Cell],
    sizes: Mapping[str, int],
    suffix: str = "",
    place: tuple[int, int] = (0, 0),
    learned_state: bool = False,
) -> Direction:
    """One layer in one direction, or a single step; `suffix` ends the names of its parameters."""
    cell, sizes = cells[True], Sizes.of(sizes)
    cell.check_sizes(sizes)
    return Direction(
        place,
        sizes,
        [sizes[state.size] for state in cell.states],
        [p.name + suffix for p in cell.parameters],
        [f"initial_{state.name}{suffix}" for state in cell.states] if learned_state else [],
        {training: Job(c, sizes, reverse=place[1] == 1) for training, c in cells.items()},
    )


def own_parameters(module: nn.Module, names: Iterable[str]) -> list[Tensor]:
    """Parameters of a module.

    `getattr` takes most of a microsecond, for each weight of each call; only it, however, finds
    weights that torch.nn.utils.parametrize and the like compute.
    """
    found = []
    for name in names:
        own = module._parameters.get(name)
        found.append(getattr(module, name) if own is None else own)
    return found
