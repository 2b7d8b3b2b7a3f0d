"""The specification of resets: every episode is run alone, in Python.

Legend: T steps, B sequences, L layers, D directions, n the size of a state.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

import gatework as gw
from numerics import Named, flat, gradients


def gradients_of(result, sources: Named) -> Named:
    """The gradient of a random weighted sum of a call's results, in each of the sources."""
    return gradients(flat(result), sources)


def run_alone(layer, x: Tensor, hx, resets: Tensor, lengths=None, reset_to=None):
    """What `layer(x, hx, lengths=…, resets=…, reset_to=…)` means: the output and final state.

    Args:
        layer: A layer in eval mode that is given time first, [T, B, I].
        x: [T, B, I].
        hx: The state before the first step; None for the layer's own.
        resets: [T, B].
        lengths: The steps of each sequence.
        reset_to: As in the call.
    """
    own = layer.initial_state(x.shape[1])
    start = tupled(own if hx is None else hx)
    initial = tupled(own if reset_to is None else reset_to)
    with gw.use_backend("reference"):
        further = layer.fed(x) if layer.cell.further else {}
        columns = [
            _sequence(
                layer,
                x[:, b],
                _at(start, b),
                _at(initial, b),
                resets[:, b],
                length,
                {s.name: further[s.name].movedim(-2, 0)[b] for s in layer.cell.further},
            )
            for b, length in enumerate(lengths or [len(x)] * x.shape[1])
        ]
    states = tuple(torch.stack(parts, 1) for parts in zip(*(c[1] for c in columns), strict=True))
    return torch.stack([c[0] for c in columns], 1), untupled(states)


def _sequence(layer, x: Tensor, start, initial, resets: Tensor, length: int, further: Named):
    """One sequence [T, I], layer by layer: the output [T, D n] and the final states [L D, n]."""
    if not length:
        return x.new_zeros(len(x), layer.num_directions * layer.output_size), start
    steps, x = len(x), x[:length]
    bounds = [0, *(t for t in range(1, length) if resets[t]), length]
    episodes = [slice(*ends) for ends in pairwise(bounds)]
    finals = []
    for depth in range(layer.num_layers):
        outputs = []
        for d in range(layer.num_directions):
            k = depth * layer.num_directions + d
            state = initial if resets[0] and not d else start
            rows = _row(state, k), _row(initial, k)
            y, final = _episodes(layer, depth, d, x, episodes, *rows, further)
            outputs.append(y)
            finals.append(final)
        x = torch.cat(outputs, -1)
    padding = x.new_zeros(steps - length, x.shape[-1])
    return torch.cat([x, padding]), tuple(map(torch.stack, zip(*finals, strict=True)))


def _episodes(layer, depth, direction, x: Tensor, episodes, state, initial, further: Named):
    """One layer in one direction, episode by episode in the order of that direction."""
    alone, rows = _alone(layer, depth, direction), {}
    for episode in episodes[::-1] if direction else episodes:
        part = _part(x, episode, direction)
        given = {n: _part(v, episode, direction) if v.dim() > 1 else v for n, v in further.items()}
        y, final = alone(part, untupled(tuple(s[None] for s in state)), given)
        rows[episode.start] = y.flip(0) if direction else y
        state = initial
    return torch.cat([rows[e.start] for e in episodes]), tuple(s[0] for s in tupled(final))


def _part(rows: Tensor, episode: slice, direction: int) -> Tensor:
    return rows[episode].flip(0) if direction else rows[episode]


def _alone(layer, depth: int, direction: int):
    """A single layer that reads the parameters of one layer and direction of a stack."""
    sizes = layer.sizes(depth)
    one = gw.nn.Recurrent(layer.cell, sizes["input"], layer.hidden_size, **layer.extra_sizes)
    suffix = f"_l{depth}" + ("_reverse" if direction else "")
    names = {p.name: getattr(layer, p.name + suffix) for p in layer.cell.parameters}
    parameters = {f"{n}_l0": p for n, p in names.items()}
    return lambda x, hx, given: torch.func.functional_call(one.eval(), parameters, (x, hx), given)


def _at(states, b: int):
    return tuple(s[:, b] for s in states)


def _row(states, k: int):
    return tuple(s[k] for s in states)


def tupled(state) -> tuple[Tensor, ...]:
    """A state as a tuple, also of a cell with one."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


def untupled(states: tuple[Tensor, ...]):
    """A state as a layer takes it."""
    return states if len(states) > 1 else states[0]
