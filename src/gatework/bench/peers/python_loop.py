"""The same cell as a loop in Python: torch operations step by step, torch's own autograd."""

from __future__ import annotations

import platform

import torch
from torch import Tensor

from gatework.autograd.job import Job
from gatework.backends.reference import Reference
from gatework.bench.peers.contestant import Work
from gatework.bench.problem import Kind, Named, Problem
from gatework.nn import Recurrent
from gatework.nn.parameters import own_parameters

__all__ = ["PythonLoop", "plain_loop"]


def plain_loop(problem: Problem) -> Tensor:
    """The output [T, B, n] by the specification of the cell, differentiable by torch."""
    cell, x = problem.layer.cell, problem.x
    job = Job(cell, problem.layer.sizes(0))
    call = job.call((x, *[None] * len(cell.states), *_weights(problem.layer)), None)
    output: Tensor = Reference().run(job.program.forward, call).outputs[0]
    return output


def _weights(layer: Recurrent) -> list[Tensor]:
    """All that the cell reads, in its order."""
    return own_parameters(layer, layer._stack[0][0].names)


class PythonLoop:
    """What one writes by hand for a cell that no library has. See `Contestant`."""

    name = "Python loop"

    def absence(self) -> str | None:
        """Never absent."""
        return None

    def version(self) -> str:
        """Python's."""
        return platform.python_version()

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work | None:
        """The loop, or the loop and its gradients."""
        if kind == "streaming":
            return _streaming(problem)

        def train() -> tuple[Tensor, ...]:
            return problem.gradients(plain_loop(problem))

        if kind == "inference":
            return Work(lambda: plain_loop(problem), lambda: {"output": plain_loop(problem)})
        return Work(train, lambda: {"output": plain_loop(problem), **problem.named(train())})


def _streaming(problem: Problem) -> Work:
    cell, layer, x = problem.layer.cell, problem.layer, problem.x
    job = Job(cell, layer.sizes(0))
    call = job.call((x[:1].clone(), *[None] * len(cell.states), *_weights(layer)), None)
    stepper = Reference().stepper(job.program.forward, call)

    def output(row: Tensor) -> Tensor:
        stepper.input.copy_(row)
        stepper.step()
        return stepper.output.clone()

    def check() -> Named:
        stepper.reset()
        return {"output": torch.stack([output(row) for row in x])}

    return Work(stepper.step, check)
