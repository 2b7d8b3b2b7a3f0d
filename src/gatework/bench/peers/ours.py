"""Gatework itself."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from gatework.bench.peers.contestant import Work
from gatework.bench.problem import Kind, Named, Problem

__all__ = ["Gatework"]


class Gatework:
    """The layer as a user calls it. See `Contestant`."""

    name = "gatework"

    def absence(self) -> str | None:
        """Never absent."""
        return None

    def version(self) -> str:
        """The package's."""
        return version("gatework")

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work:
        """A call of the layer, forward and backward, or a step of its stream."""
        if kind == "streaming":
            return _streaming(problem)
        layer, x = problem.layer, problem.x

        def infer() -> Tensor:
            output: Tensor = layer(x)[0]
            return output

        def train() -> tuple[Tensor, ...]:
            return problem.gradients(layer(x)[0])

        if kind == "inference":
            return Work(infer, lambda: {"output": infer()})
        return Work(train, lambda: {"output": infer(), **problem.named(train())})


def _streaming(problem: Problem) -> Work:
    stream = problem.layer.stream(problem.shape.batch)
    rows = problem.x.numpy()

    def check() -> Named:
        stream.reset()
        return {"output": torch.from_numpy(np.stack([stream.step(row).copy() for row in rows]))}

    first = rows[0]
    return Work(lambda: stream.step(first), check)
