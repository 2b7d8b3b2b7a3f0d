"""torch.nn's own layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatework.bench.peers.contestant import Work
from gatework.bench.problem import Kind, Named, Problem

__all__ = ["TorchNn", "torch_layer"]

LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "rnn": ("RNN", {}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
}
"""torch.nn's counterparts of cells: class and options."""


def torch_layer(problem: Problem) -> torch.nn.Module | None:
    """torch.nn's layer with the problem's weights; None when it has no such cell."""
    if problem.listed not in LAYERS:
        return None
    name, options = LAYERS[problem.listed]
    numbers = {"dtype": problem.x.dtype, "device": problem.x.device}
    layer: torch.nn.Module = getattr(torch.nn, name)(
        problem.shape.features, problem.shape.units, **numbers, **options
    )
    layer.load_state_dict(problem.layer.state_dict())
    return layer.train(problem.layer.training)


class TorchNn:
    """torch.nn.LSTM, GRU and RNN. See `Contestant`."""

    name = "torch.nn"

    def absence(self) -> str | None:
        """Never absent."""
        return None

    def version(self) -> str:
        """torch's."""
        return str(torch.__version__)

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work | None:
        """A call, forward and backward, or a call of one step whose state is handed on."""
        layer = torch_layer(problem)
        if layer is None:
            return None
        if kind == "streaming":
            return _streaming(layer, problem)
        x, sources = problem.x, [problem.x, *layer.parameters()]

        def infer() -> Tensor:
            output: Tensor = layer(x)[0]
            return output

        def train() -> tuple[Tensor, ...]:
            return problem.gradients(layer(x)[0], sources)

        if kind == "inference":
            return Work(infer, lambda: {"output": infer()})
        return Work(train, lambda: {"output": infer(), **problem.named(train())})


def _streaming(layer: torch.nn.Module, problem: Problem) -> Work:
    state: Any = None

    def step(row: Tensor) -> Tensor:
        nonlocal state
        output: Tensor
        output, state = layer(row, state)
        return output

    def check() -> Named:
        nonlocal state
        state = None
        return {"output": torch.cat([step(row[None]) for row in problem.x])}

    first = problem.x[:1]
    return Work(lambda: step(first), check)
