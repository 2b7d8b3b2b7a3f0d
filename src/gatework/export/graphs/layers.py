"""A layer as nodes: what a graph of a bare layer, or of a whole model, is made of.

Legend: T steps, B sequences, I input features, n units of a row, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from gatework.compiler.program import program
from gatework.errors import InputError
from gatework.export.graphs.graph import Numbers
from gatework.export.graphs.loop import Frame, Loop, Reads
from gatework.export.graphs.native import blocks_of, native, write_native
from gatework.lang.definition import Cell
from gatework.nn import Recurrent
from gatework.nn.parameters import Direction, own_parameters


class Results(NamedTuple):
    """What a layer gives: the output [T, B, D·n] and the final states [L·D, B, n]."""

    output: str
    states: list[str]


class Part(NamedTuple):
    """One layer of a stack in one direction.

    Attributes:
        cell: What it runs in eval mode.
        sizes: How many units each size has.
        arrays: Its parameters, by the cell's names.
        reverse: Whether it runs from the last step to the first.
    """

    cell: Cell
    sizes: Mapping[str, int]
    arrays: Mapping[str, Numbers]
    reverse: bool = False


def layer_nodes(
    frame: Frame,
    layer: Recurrent,
    input: str,
    states: Sequence[str] | None = None,
    further: Mapping[str, str] | None = None,
) -> Results:
    """Write the nodes of a layer, as it is in eval mode, into a graph.

    Args:
        frame: The graph, and the lengths of the sequences.
        layer: The layer; whatever its `batch_first`, the nodes begin with time.
        input: The name of the value [T, B, I].
        states: Those of the initial states, [L·D, B, n] each; the layer's own when not given.
        further: Those of what the cell reads beside its input, by the cell's names for it:
            [T, B, n], or [B, n] for what it reads once for a sequence.

    Example:
        >>> import gatework as gw
        >>> from gatework.export.graphs.graph import Graph
        >>> graph = Graph()
        >>> found = layer_nodes(Frame(graph, "x"), gw.nn.GRU(4, 8), "x")
        >>> [node.op_type for node in graph.nodes]
        ['GRU', 'Squeeze']
    """
    if layer.held:
        raise InputError("a layer with held values", "a layer as it was trained", "release them")
    graph, finals, sequence = frame.graph, list[Sequence[str]](), input
    count = layer.num_directions
    for k, directions in enumerate(layer._stack):
        begin = _beginning(frame, layer, directions, states, k * count)
        parts = [part_of(layer, one) for one in directions]
        sequence, ends = directions_nodes(frame, parts, sequence, begin, further or {})
        finals.append(ends)
    joined = (list(column) for column in zip(*finals, strict=True))
    return Results(
        sequence, [c[0] if len(c) == 1 else graph.node("Concat", *c, axis=0) for c in joined]
    )


def part_of(layer: Recurrent, one: Direction) -> Part:
    """One layer in one direction, its parameters as arrays."""
    cell = one.jobs[False].cell
    tensors = own_parameters(layer, one.names)
    pairs = zip(layer.cell.parameters, tensors, strict=True)
    arrays = {p.name: array_of(tensor) for p, tensor in pairs}
    return Part(cell, one.sizes, arrays, one.place[1] == 1)


def array_of(tensor: torch.Tensor) -> Numbers:
    """The numbers of a tensor, wherever it is."""
    return tensor.detach().float().cpu().numpy()


def _beginning(
    frame: Frame,
    layer: Recurrent,
    directions: Sequence[Direction],
    states: Sequence[str] | None,
    first: int,
) -> list[str] | None:
    """The initial states of one layer, [D, B, n] each; None for zero."""
    graph, count = frame.graph, len(directions)
    if states is not None:
        if layer.num_layers == 1:
            return [*states]
        return [graph.slice(s, first, first + count, 0) for s in states]
    if not layer.learned_state:
        return None
    columns = zip(*(own_parameters(layer, one.initial) for one in directions), strict=True)
    rows = (np.stack([array_of(v) for v in column])[:, None] for column in columns)
    names = (s.name for s in layer.cell.states)
    learned = [graph.weight(r, f"initial_{n}") for r, n in zip(rows, names, strict=True)]
    return [graph.node("Expand", v, frame.each()[0]) for v in learned]


def directions_nodes(
    frame: Frame,
    parts: Sequence[Part],
    input: str,
    states: Sequence[str] | None,
    further: Mapping[str, str],
) -> tuple[str, list[str]]:
    """Write one layer in one or both directions: ONNX's own node if it has one, else loops.

    Args:
        frame: The graph, and the lengths of the sequences.
        parts: The directions.
        input: [T, B, I].
        states: The initial states, [D, B, n] each; None for zero.
        further: What the cell reads beside its input.

    Returns:
        The output [T, B, D·n], and the final states [D, B, n].
    """
    first = parts[0]
    found = native(first.cell)
    if found is not None:
        blocks = [blocks_of(p.cell, p.arrays, p.sizes) for p in parts]
        units = first.sizes["hidden"]
        return write_native(frame, found, input, blocks, states, units, first.reverse)
    written = [
        _loop(frame, part, input, _of_direction(frame, states, d, len(parts)), further)
        for d, part in enumerate(parts)
    ]
    outputs, finals = zip(*written, strict=True)
    return _joined(frame, outputs, -1), [
        _joined(frame, column, 0) for column in zip(*finals, strict=True)
    ]


def _joined(frame: Frame, values: Sequence[str], axis: int) -> str:
    return values[0] if len(values) == 1 else frame.graph.node("Concat", *values, axis=axis)


def _of_direction(
    frame: Frame, states: Sequence[str] | None, direction: int, count: int
) -> list[str] | None:
    """The states [B, n] of one direction, of [D, B, n]."""
    if states is None:
        return None
    graph = frame.graph
    one = states if count == 1 else [graph.slice(s, direction, direction + 1, 0) for s in states]
    return [graph.node("Squeeze", s, graph.integers([0])) for s in one]


def _loop(
    frame: Frame,
    part: Part,
    input: str,
    states: Sequence[str] | None,
    further: Mapping[str, str],
) -> tuple[str, list[str]]:
    """One direction as a loop: its output, and its final states [1, B, n]."""
    cell, graph = part.cell, frame.graph
    rows = {cell.input.name: input, **further}
    names: dict[str, list[str]] = {
        role: [s.name for s in cell.inputs if s.role == role] for role in ("sequence", "constant")
    }
    begin = states or [frame.zeros(part.sizes[s.size]) for s in cell.states]
    reads = Reads(
        {n: rows[n] for n in names["sequence"]}, {n: rows[n] for n in names["constant"]}, begin
    )
    plan = program(cell).forward
    written = Loop(frame, plan, part.sizes, part.arrays, reads, part.reverse).write()
    first = graph.integers([0])
    return written.output, [graph.node("Unsqueeze", s, first) for s in written.states]
