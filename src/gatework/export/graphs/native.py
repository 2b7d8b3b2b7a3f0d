"""ONNX's own recurrent nodes: which cells they compute, and how they want the weights.

The equations of the nodes are written here as the operators' specification has them. A cell is
compared with them, so that any cell that computes the same becomes the node, whatever its parts are
called.

Legend: G gates, T steps, B sequences, D directions, I input features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatework.analysis.equivalence import renaming
from gatework.export.graphs.graph import Graph, Numbers
from gatework.export.graphs.loop import Frame
from gatework.lang import cell, linear, relu, sigmoid, tanh, vector
from gatework.lang.definition import Cell
from gatework.lang.rewriting import single_bias

# ---- the equations -----------------------------------------------------------------------------


@cell
def _rnn(x, h):  # type: ignore[no-untyped-def]
    return tanh(linear("h", x, h))


@cell
def _rnn_relu(x, h):  # type: ignore[no-untyped-def]
    return relu(linear("h", x, h))


@cell
def _lstm(x, h, c):  # type: ignore[no-untyped-def]
    i, f = sigmoid(linear("i", x, h)), sigmoid(linear("f", x, h))
    c = f * c + i * tanh(linear("g", x, h))
    return sigmoid(linear("o", x, h)) * tanh(c), c


@cell
def _peephole_lstm(x, h, c):  # type: ignore[no-untyped-def]
    i = sigmoid(linear("i", x, h) + vector("P_i") * c)
    f = sigmoid(linear("f", x, h) + vector("P_f") * c)
    c = f * c + i * tanh(linear("g", x, h))
    return sigmoid(linear("o", x, h) + vector("P_o") * c) * tanh(c), c


@cell
def _gru(x, h):  # type: ignore[no-untyped-def]
    z, r = sigmoid(linear("z", x, h)), sigmoid(linear("r", x, h))
    n = tanh(linear("n", x) + r * linear("n", h))
    return (1 - z) * n + z * h


@cell
def _gru_reset_before(x, h):  # type: ignore[no-untyped-def]
    z, r = sigmoid(linear("z", x, h)), sigmoid(linear("r", x, h))
    n = tanh(linear("n", x, r * h, group="rh"))
    return (1 - z) * n + z * h


@dataclass(frozen=True)
class Node:
    """A recurrent node with some of its attributes.

    Attributes:
        kind: The operator.
        cell: What it computes.
        gates: Its gates, in the order of its weights.
        attributes: The attributes with which it computes that.
        activations: Of each direction, where they are not the operator's own.
    """

    kind: str
    cell: Cell
    gates: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    activations: tuple[str, ...] = ()


NODES = (
    Node("RNN", _rnn, "h"),
    Node("RNN", _rnn_relu, "h", activations=("Relu",)),
    Node("LSTM", _lstm, "iofg"),
    Node("LSTM", _peephole_lstm, "iofg"),
    Node("GRU", _gru, "zrn", {"linear_before_reset": 1}),
    Node("GRU", _gru_reset_before, "zrn", {"linear_before_reset": 0}),
)


Blocks = Mapping[str, Numbers]
"""The learned numbers of one layer in one direction, by parameter and gate: `weight_ih.i`."""


@dataclass(frozen=True)
class Native:
    """A cell as a node, and what the parts of the node's equations are called in the cell."""

    node: Node
    names: Mapping[str, str]

    def stacked(self, groups: Sequence[str], gates: str, blocks: Blocks, rows: int) -> Numbers:
        """Blocks of so many rows, one below the other; what the cell has not is zero."""
        names = [[self.names.get(f"{group}{g}") for group in groups] for g in gates]
        found = [next((blocks[n] for n in of_gate if n), None) for of_gate in names]
        return np.concatenate([np.zeros(rows, np.float32) if f is None else f for f in found])

    def weights(self, blocks: Blocks, units: int) -> dict[str, Numbers]:
        """W [G·H, I], R [G·H, H], B [2·G·H] if there are biases, P [3·H] if there are peepholes."""
        gates = self.node.gates
        found = {
            "W": self.stacked(["weight_ih."], gates, blocks, units),
            "R": self.stacked(["weight_hh.", "weight_rh."], gates, blocks, units),
        }
        if any(name.startswith("bias_") for name in self.names):
            groups = (["bias_ih."], ["bias_hh.", "bias_rh."])
            found["B"] = np.concatenate([self.stacked(g, gates, blocks, units) for g in groups])
        if "P_i" in self.names:
            found["P"] = self.stacked(["P_"], "iof", blocks, units)
        return found


def native(cell: Cell) -> Native | None:
    """The node that computes a cell, if ONNX has one.

    Example:
        >>> from gatework import cells
        >>> native(cells.gru).node.kind, native(cells.mgu)
        ('GRU', None)
    """
    if cell.further or cell.output is not None:
        return None
    for node in NODES:
        for form in (node.cell, single_bias(node.cell), node.cell.without_bias()):
            if _blocks(form) == _blocks(cell):
                names = renaming(form, cell)
                if names is not None:
                    return Native(node, names)
    return None


def _blocks(cell: Cell) -> tuple[int, ...]:
    """How many matrices and how many vectors are learned: a quick look at whether it may be it."""
    matrices = sum(len(p.blocks) for p in cell.parameters if p.cols is not None)
    return matrices, sum(len(p.blocks) for p in cell.parameters) - matrices


# ---- the node ----------------------------------------------------------------------------------


def blocks_of(cell: Cell, arrays: Mapping[str, Numbers], sizes: Mapping[str, int]) -> Blocks:
    """The parts of a cell's parameters, each by its name in the equations."""
    return {
        block if block == p.name else f"{p.name}.{block}": arrays[p.name][span]
        for p in cell.parameters
        for block, span in p.spans(sizes).items()
    }


def write_native(
    frame: Frame,
    native: Native,
    input: str,
    directions: Sequence[Blocks],
    states: Sequence[str] | None,
    units: int,
    reverse: bool = False,
) -> tuple[str, list[str]]:
    """Write the node of one layer.

    Args:
        frame: The graph and how many steps there are.
        native: What the layer's cell is.
        input: [T, B, I].
        directions: The learned numbers of each direction.
        states: The initial states, [D, B, H] each; None for zero.
        units: H.
        reverse: Whether the only direction is the backward one.

    Returns:
        The output [T, B, D·H] and the final states [D, B, H].
    """
    graph, node, count = frame.graph, native.node, len(directions)
    each = [native.weights(blocks, units) for blocks in directions]
    weights = {n: graph.weight(np.stack([w[n] for w in each]), n) for n in each[0]}
    names = [s.name for s in node.cell.states]
    given = [input, weights["W"], weights["R"], weights.get("B", ""), frame.counted()]
    given += [*(states or [""] * len(names)), weights.get("P", "")]
    options: dict[str, Any] = {**node.attributes, "hidden_size": units}
    if node.activations:
        options["activations"] = list(node.activations) * count
    direction = "bidirectional" if count == 2 else "reverse" if reverse else "forward"
    wishes = ["sequence", *(f"final_{n}" for n in names)]
    made = graph.several(node.kind, _without_end(given), wishes, direction=direction, **options)
    finals = [frame.or_before(s, f) for s, f in zip(states or (), made[1:], strict=False)]
    return _side_by_side(graph, made[0], count, units), finals or made[1:]


def _without_end(inputs: list[str]) -> list[str]:
    """The inputs without those at the end that are left out."""
    while not inputs[-1]:
        inputs = inputs[:-1]
    return inputs


def _side_by_side(graph: Graph, sequence: str, count: int, units: int) -> str:
    """The node's [T, D, B, H] as [T, B, D·H]."""
    if count == 1:
        return graph.node("Squeeze", sequence, graph.integers([1]))
    turned = graph.node("Transpose", sequence, perm=[0, 2, 1, 3])
    return graph.reshape(turned, 2, [count * units])
