"""JAX: the cell under lax.scan, compiled by XLA.

Legend: T steps, B sequences, I input features, H hidden units.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatework.bench.peers.contestant import Work
from gatework.bench.problem import Kind, Named, Problem

__all__ = ["JaxScan"]


def _lstm(jax: Any, a: Any, b: Any, state: Any) -> Any:
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid
    i, f, g, o = jnp.split(a + b, 4, axis=-1)
    c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c


def _gru(jax: Any, a: Any, b: Any, state: Any) -> Any:
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid
    a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
    b_r, b_z, b_n = jnp.split(b, 3, axis=-1)
    z, n = sigmoid(a_z + b_z), jnp.tanh(a_n + sigmoid(a_r + b_r) * b_n)
    return ((1 - z) * n + z * state[0],)


def _rnn(jax: Any, a: Any, b: Any, state: Any) -> Any:
    return (jax.numpy.tanh(a + b),)


STEPS: dict[str, tuple[int, Callable[..., Any]]] = {
    "lstm": (2, _lstm),
    "gru": (1, _gru),
    "rnn": (1, _rnn),
}
"""States of a cell, and its step from W x + b, U h + b' and the states."""


class JaxScan:
    """Inference and training, jitted. See `Contestant`."""

    name = "JAX"

    def absence(self) -> str | None:
        """It is no requirement."""
        return None if find_spec("jax") else "pip install jax"

    def version(self) -> str:
        """The version that is installed."""
        return version("jax")

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work | None:
        """The compiled scan. XLA takes every core, so with fewer threads there is no comparison."""
        if problem.listed not in STEPS or kind == "streaming" or threads != _cores():
            return None
        jax = import_module("jax")
        cpu = jax.devices("cpu")[0]
        x, dy, *weights = (
            jax.device_put(t.detach().numpy(), cpu)
            for t in (problem.x, problem.dy, *problem.layer.parameters())
        )
        infer = jax.jit(_scan(jax, problem))
        if kind == "inference":
            return Work(
                lambda: infer(x, *weights).block_until_ready(),
                lambda: {"output": _tensor(infer(x, *weights))},
            )
        train = jax.jit(_gradients(jax, _scan(jax, problem)))

        def check() -> Named:
            gradients = tuple(_tensor(g) for g in train(dy, x, *weights))
            return {"output": _tensor(infer(x, *weights)), **problem.named(gradients)}

        return Work(lambda: jax.block_until_ready(train(dy, x, *weights)), check)


def _cores() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))


def _scan(jax: Any, problem: Problem) -> Callable[..., Any]:
    """The layer: the product with the input for all steps at once, then the scan."""
    count, step = STEPS[problem.listed]

    def run(x: Any, w: Any, u: Any, b: Any, b2: Any) -> Any:
        zeros = (jax.numpy.zeros((problem.shape.batch, problem.shape.units), x.dtype),) * count

        def one(state: Any, row: Any) -> Any:
            new = step(jax, row, state[0] @ u.T + b2, state)
            return new, new[0]

        return jax.lax.scan(one, zeros, x @ w.T + b)[1]

    return run


def _gradients(jax: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    def gradients(dy: Any, *inputs: Any) -> Any:
        return jax.vjp(run, *inputs)[1](dy)

    return gradients
