"""LSTM, GRU and RNN nodes of an ONNX file as layers.

Legend: I input size, H hidden size, G gates, D directions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatework.convert.arrays import from_arrays, layer_of
from gatework.convert.given import Weights
from gatework.convert.onnx_cells import ORDERS, USUAL, Chosen, Computation
from gatework.convert.onnx_constants import Constants, attributes_of
from gatework.errors import InputError, explained
from gatework.needed import needed
from gatework.nn.recurrent import Recurrent

__all__ = ["onnx"]

EXPECTED = "an ONNX file with LSTM, GRU or RNN nodes"
KNOWN = {
    *("activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size"),
    *("layout", "input_forget", "linear_before_reset"),
}
"""The attributes of all three kinds."""
BIASES, STATES, PEEPHOLES = 3, (5, 6), 7
"""Places of a node's inputs: X, W, R, B, sequence_lens, initial_h, initial_c, P."""


def onnx(path: str | Path) -> dict[str, Recurrent]:
    """Return the LSTM, GRU and RNN nodes of an ONNX file as layers with their weights, by name.

    Each node is a layer of its own, in the dtype of its weights. It takes and gives what layers of
    ours do: the output of all directions side by side, [T, B, D·H], batch first where the node's
    `layout` is 1. What a node reads as `sequence_lens` is given as `lengths=`, `initial_h` and
    `initial_c` as the state.

    Args:
        path: the file. Weights may lie in files beside it.

    Returns:
        By the name of the node, or of its first output where it has none, in the file's order.

    Raises:
        InputError: the file is missing or damaged, has no such node, or one of them computes what
            no layer does; it names the node and the attribute. Or `onnx` is not installed.

    Source:
        ONNX operators LSTM, GRU and RNN, opset 7 to 22.

    Example:
        >>> import gatework as gw
        >>> _ = gw.export.onnx(gw.nn.GRU(3, 5, bidirectional=True), "gru.onnx")
        >>> [*gw.convert.onnx("gru.onnx").values()]
        [GRU(3, 5, bidirectional=True)]
    """
    package = needed("onnx", "export")
    path = Path(path)
    with explained(path, EXPECTED):
        empty = not path.stat().st_size
    graph = None if empty else _loaded(package, path).graph
    nodes = [n for n in graph.node if n.op_type in USUAL and not n.domain] if graph else []
    if not nodes:
        why = "is empty" if empty else "has no LSTM, GRU or RNN node"
        raise InputError(
            f"{str(path)!r}, which {why}",
            EXPECTED,
            "check the path; nodes inside a loop or a function are not looked for",
        )
    constants = Constants(graph)
    read = [_Node(node, constants) for node in nodes]
    return {node.name: node.layer() for node in read}


def _loaded(package: Any, path: Path) -> Any:
    try:
        return package.load(path)
    except Exception as error:  # protobuf's, or what weights beside the file say
        raise InputError(
            f"{str(path)!r}, which cannot be read as ONNX ({error})",
            EXPECTED,
            "export it again; weights that lie beside it have to be there",
        ) from None


class _Node:
    """One node, read."""

    def __init__(self, node: Any, constants: Constants) -> None:
        self.kind: str = node.op_type
        self.name: str = node.name or next(filter(None, node.output))
        self.attributes = attributes_of(node)
        self._inputs = [*node.input]
        self._constants = constants

    def layer(self) -> Recurrent:
        """Return the layer."""
        if unknown := sorted(self.attributes.keys() - KNOWN):
            raise self._refused(f"the attribute {unknown[0]!r}", "those that ONNX's operator has")
        computation = self._computation()
        plain = replace(computation, peepholes=False)
        made = from_arrays(
            plain.cell(),
            self._weights(computation),
            order=computation.gates,
            gate_axis=0,
            bidirectional=self._bidirectional,
            batch_first=bool(self.attributes.get("layout", 0)),
        )
        self._check_states(made)
        return self._with_peepholes(made, computation) if computation.peepholes else made

    def _refused(
        self, came: str, expected: str, mend: str = "write the cell and load its weights by name"
    ) -> InputError:
        return InputError(f"the {self.kind} node {self.name!r} with {came}", expected, mend)

    # ---- what it computes

    @property
    def _bidirectional(self) -> bool:
        direction = self.attributes.get("direction", "forward")
        if direction not in ("forward", "bidirectional"):
            raise self._refused(
                f"the direction {direction!r}",
                "forward or bidirectional",
                "flip its input and its output along the steps, and call it forward",
            )
        return bool(direction == "bidirectional")

    def _computation(self) -> Computation:
        coupled = bool(self.attributes.get("input_forget", 0))
        return Computation(
            self.kind,
            self._functions(),
            clip=self.attributes.get("clip"),
            coupled=coupled,
            peepholes=self._reads(PEEPHOLES),
            reset_after=bool(self.attributes.get("linear_before_reset", 0)),
        )

    def _functions(self) -> list[Chosen]:
        """The functions of one direction; both have to have the same."""
        usual, directions = USUAL[self.kind], 1 + self._bidirectional
        names = self.attributes.get("activations") or [*usual] * directions
        if len(names) != len(usual) * directions:
            came, expected = f"{len(names)} functions", f"{len(usual)} for each direction"
            raise self._refused(came, expected)
        alphas, betas = ([*self.attributes.get(f"activation_{n}", [])] for n in ("alpha", "beta"))
        try:
            found = [Chosen.of(name, alphas, betas) for name in names]
        except ValueError as error:
            raise self._refused(str(error), "functions that ONNX has, with their numbers") from None
        if found[: len(usual)] != found[-len(usual) :]:
            raise self._refused("other functions in each direction", "the same in both")
        return found[: len(usual)]

    # ---- its inputs

    def _reads(self, place: int) -> bool:
        return len(self._inputs) > place and bool(self._inputs[place])

    def _array(self, place: int, what: str) -> NDArray[Any]:
        """A constant that is read."""
        name = self._inputs[place]
        try:
            return self._constants[name]
        except KeyError as missing:
            raise self._refused(
                f"{what} that are computed from the input {missing.args[0]!r}",
                "weights that stand in the file",
                "export the model with its weights as constants",
            ) from None

    def _weights(self, computation: Computation) -> list[Weights]:
        """Weights of each direction, of the gates that have some."""
        maps = [self._array(1, "weights W"), self._array(2, "weights R")]
        order, directions = ORDERS[self.kind], 1 + self._bidirectional
        hidden = maps[1].shape[-1]
        wanted = [(directions, len(order) * hidden, n) for n in (maps[0].shape[-1], hidden)]
        asked = self.attributes.get("hidden_size", hidden)
        if [m.shape for m in maps] != wanted or asked != hidden:
            shapes = " and ".join(str([*m.shape]) for m in maps)
            raise self._refused(
                f"weights of the shapes {shapes} and hidden_size = {asked}",
                "W [directions, gates * hidden, inputs], R [directions, gates * hidden, hidden]",
                "export it again; the file is damaged",
            )
        biases = self._biases(directions, len(order) * hidden, maps[0].dtype)
        used = np.concatenate(
            [np.arange(hidden) + hidden * order.index(gate) for gate in computation.gates]
        )
        return [
            Weights(*(None if part is None else part[direction][used] for part in (*maps, *biases)))
            for direction in range(directions)
        ]

    def _biases(self, directions: int, rows: int, dtype: Any) -> tuple[NDArray[Any] | None, ...]:
        """Of the maps of input and state, [D, G·H] each; None where there are none."""
        if not self._reads(BIASES):
            return None, None
        both = self._array(BIASES, "biases B")
        if both.shape != (directions, 2 * rows):
            raise self._refused(
                f"biases of the shape {[*both.shape]}",
                f"[directions, 2 * gates * hidden]: [{directions}, {2 * rows}]",
                "export it again; the file is damaged",
            )
        return both[:, :rows], both[:, rows:]

    def _check_states(self, layer: Recurrent) -> None:
        """Refuse initial states that are constants but not 0, which would be forgotten."""
        for place in STATES:
            name = self._inputs[place] if self._reads(place) else ""
            if name and name in self._constants and self._constants[name].any():
                raise self._refused(
                    f"the constant initial state {name!r}",
                    "zeros, or an input of the model",
                    "set it to zeros in the file, and give it to the layer as its state",
                )

    def _with_peepholes(self, plain: Recurrent, computation: Computation) -> Recurrent:
        """The layer whose gates see the memory cell."""
        rows = self._array(PEEPHOLES, "peepholes P")  # [D, 3H]: i, o, f
        hidden = plain.hidden_size
        if rows.shape != (plain.num_directions, 3 * hidden):
            raise self._refused(
                f"peepholes of the shape {[*rows.shape]}",
                f"[directions, 3 * hidden]: [{plain.num_directions}, {3 * hidden}]",
                "export it again; the file is damaged",
            )
        made = layer_of(
            computation.cell(),
            input_size=plain.input_size,
            hidden_size=hidden,
            bias=plain.bias,
            batch_first=plain.batch_first,
            bidirectional=plain.bidirectional,
            dtype=next(plain.parameters()).dtype,
        )
        values = {**plain.state_dict()}
        for row, suffix in zip(rows, ("", "_reverse"), strict=False):
            for k, gate in enumerate("iof"):
                part = torch.tensor(row[k * hidden : (k + 1) * hidden])
                values[f"peephole_{gate}_l0{suffix}"] = part
        if computation.coupled:
            values = {name: v for name, v in values.items() if not name.startswith("peephole_f")}
        made.load_state_dict(values)
        return made
