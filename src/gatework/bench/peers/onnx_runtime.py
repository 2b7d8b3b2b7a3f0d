"""ONNX Runtime's LSTM, GRU and RNN: a graph of one node, the weights in it.

Legend: G gates, T steps, B sequences, I input features, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from gatework.bench.peers.contestant import Work
from gatework.bench.problem import Kind, Named, Problem

__all__ = ["OnnxRuntime"]

OPSET, IR_VERSION = 17, 8  # read by every version since 1.13


@dataclass(frozen=True)
class _Node:
    """ONNX's counterpart of a cell."""

    type: str
    order: tuple[int, ...]  # ONNX's gates, as positions in ours
    attributes: dict[str, Any] = field(default_factory=dict)


NODES = {
    "lstm": _Node("LSTM", (0, 3, 1, 2)),  # i o f c, of our i f g o
    "gru": _Node("GRU", (1, 0, 2), {"linear_before_reset": 1}),  # z r h, of our r z n
    "rnn": _Node("RNN", (0,)),
    "rnn_relu": _Node("RNN", (0,), {"activations": ["Relu"]}),
}


class OnnxRuntime:
    """Inference and single steps on numpy arrays. See `Contestant`."""

    name = "ONNX Runtime"

    def absence(self) -> str | None:
        """It takes two packages: one writes the graph, one runs it."""
        missing = [n for n in ("onnx", "onnxruntime") if find_spec(n) is None]
        return f"pip install {' '.join(missing)}" if missing else None

    def version(self) -> str:
        """The version of what runs the graph."""
        return version("onnxruntime")

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work | None:
        """A run of the graph; it knows no training."""
        if problem.listed not in NODES or kind == "training":
            return None
        streaming = kind == "streaming"
        session = _session(_graph(problem, streaming), threads)
        return _streaming(session, problem) if streaming else _inference(session, problem)


def _inference(session: Any, problem: Problem) -> Work:
    feed = {"X": problem.x.detach().numpy()}

    def check() -> Named:
        return {"output": torch.from_numpy(session.run(["Y"], feed)[0][:, 0])}

    return Work(lambda: session.run(["Y"], feed), check)


def _streaming(session: Any, problem: Problem) -> Work:
    names = _states(problem)
    outputs = [f"Y_{n}" for n in names]
    zeros = np.zeros((1, problem.shape.batch, problem.shape.units), np.float32)
    rows = problem.x.numpy()[:, None]
    feed: dict[str, Any] = {}

    def reset() -> None:
        feed.update({"X": rows[0], **{f"initial_{n}": zeros for n in names}})

    def step() -> Any:
        found = session.run(outputs, feed)
        for n, value in zip(names, found, strict=True):
            feed[f"initial_{n}"] = value
        return found[0]

    def check() -> Named:
        reset()
        found = []
        for row in rows:
            feed["X"] = row
            found.append(step())
        return {"output": torch.from_numpy(np.concatenate(found))}

    reset()
    return Work(step, check)


def _states(problem: Problem) -> tuple[str, ...]:
    return ("h", "c") if problem.listed == "lstm" else ("h",)


def _session(model: Any, threads: int) -> Any:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _graph(problem: Problem, streaming: bool) -> Any:
    """The model; one that streams also reads and gives the states."""
    onnx = import_module("onnx")
    node, shape = NODES[problem.listed], problem.shape
    steps = 1 if streaming else shape.steps
    sizes: dict[str, tuple[int, ...]] = {"X": (steps, shape.batch, shape.features)}
    row = 1, shape.batch, shape.units
    states = _states(problem) if streaming else ()
    sizes |= {f"initial_{n}": row for n in states}
    results: dict[str, tuple[int, ...]] = {f"Y_{n}": row for n in states} or {"Y": (steps, *row)}
    body = onnx.helper.make_node(
        node.type,
        ["X", "W", "R", "B", *(["", *(f"initial_{n}" for n in states)] if streaming else [])],
        ["", *results] if streaming else ["Y"],
        hidden_size=shape.units,
        **node.attributes,
    )
    graph = onnx.helper.make_graph(
        [body],
        problem.cell.name,
        [_described(onnx, *item) for item in sizes.items()],
        [_described(onnx, *item) for item in results.items()],
        [onnx.numpy_helper.from_array(v, n) for n, v in _weights(problem, node).items()],
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def _described(onnx: Any, name: str, sizes: tuple[int, ...]) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)


def _weights(problem: Problem, node: _Node) -> dict[str, np.ndarray[Any, Any]]:
    """W [1, G·H, I], R [1, G·H, H] and B [1, 2·G·H], the gates in ONNX's order."""
    units = problem.shape.units

    def arranged(name: str) -> np.ndarray[Any, Any]:
        ours = problem.weights()[name].detach().numpy()
        return np.concatenate([ours[g * units : (g + 1) * units] for g in node.order])

    biases = np.concatenate([arranged("bias_ih"), arranged("bias_hh")])
    return {
        "W": arranged("weight_ih")[None],
        "R": arranged("weight_hh")[None],
        "B": biases[None],
    }
