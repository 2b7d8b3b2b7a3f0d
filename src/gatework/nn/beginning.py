"""What a call begins with: the states before the first step, given, learned or zero.

Legend: T steps, B sequences, n the size of a state, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gatework.backends import filled
from gatework.nn import checks
from gatework.nn.packing import Padded
from gatework.nn.parameters import own_parameters
from gatework.nn.precision import within
from gatework.nn.resets import GivenStates, Resets, States

if TYPE_CHECKING:
    from gatework.nn.recurrent import Recurrent


def begin(
    layer: Recurrent, hx: Any, padded: Padded, resets: Any, reset_to: Any
) -> tuple[States, Resets | None]:
    """The states before the first step, and the resets on the way."""
    states = initial(layer, hx, padded)
    if resets is None and reset_to is None:
        return states, None
    x = padded.sequence
    given = filled_states(layer, states, x)
    checks.check_reset_to(resets, reset_to)
    zero = reset_to is None and not layer.learned_state
    to = None if zero else filled_states(layer, initial(layer, reset_to, padded), x)
    reset = Resets.of(padded.flags(resets), x.dtype, to)
    if hx is not None or reset_to is not None:  # else it is the initial value already
        given = reset.begun(given, layer.num_directions)
    return reset.carried(given), reset


def initial(layer: Recurrent, hx: Any, padded: Padded) -> States:
    """The states that a call is given, checked; the layer's own when it is given none."""
    x, places = padded.sequence, layer.num_layers * layer.num_directions
    if hx is None:
        return own_initial(layer, x)
    names = [s.name for s in layer.cell.states]
    shapes = [(places, x.shape[1], n) for n in layer._stack[0][0].units]
    states = checks.check_state(hx, names)
    checks.check_state_dims(states, padded.batched)
    states = tuple(padded.state(s) for s in states)
    checks.check_state_shape(states, shapes, names, x)
    return list(zip(*(s.unbind() for s in states), strict=True))


def own_initial(layer: Recurrent, like: Tensor) -> States:
    """A layer's own initial states, for an input [T, B, I]."""
    if not layer.learned_state:
        return [(None,) * len(layer.cell.states)] * (layer.num_layers * layer.num_directions)
    return [
        tuple(
            (v if v.dtype == like.dtype else within(v, like.dtype)).expand(like.shape[1], -1)
            for v in own_parameters(layer, one.initial)
        )
        for one in layer._directions()
    ]


def filled_states(layer: Recurrent, states: States, like: Tensor) -> GivenStates:
    """The states with zeros in the place of None, each as of an input [T, B, I]."""
    units = 2 * layer._stack[0][0].units  # twice: what a reset returns to may follow
    batch = like.shape[1]
    return [filled(place, units[: len(place)], batch, like) for place in states]


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """A state [B, n] of every layer and direction as one tensor [L * D, B, n]."""
    return torch.stack(tuple(rows)) if len(rows) > 1 else rows[0][None]
