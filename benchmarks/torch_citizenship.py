"""What half precision, torch.func and a second derivative cost, each beside the plain call.

    python benchmarks/torch_citizenship.py

One thread; the calls take turns, and the least time of each counts. The time is the processor's,
so that a busy machine disturbs little. That the numbers are right is tested: tests/nn/.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch.func import functional_call, grad, jvp, vmap

import gatework as gw

STEPS, BATCH, SIZE = 100, 16, 128
ROUNDS = 7


def least(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least milliseconds of each call, the calls taking turns."""
    found = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            call()
            found[name] = min(found[name], 1000 * (time.process_time() - start))
    return found


def trained(layer: torch.nn.Module, x: torch.Tensor) -> None:
    """A forward and a backward pass."""
    torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))


def main() -> None:
    """Print each time and its ratio to the plain call."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = gw.nn.LSTM(SIZE, SIZE)
    half = copy.deepcopy(layer).bfloat16()
    theirs = torch.nn.LSTM(SIZE, SIZE)
    theirs_half = copy.deepcopy(theirs).bfloat16()
    x, v = torch.randn(STEPS, BATCH, SIZE), torch.randn(STEPS, BATCH, SIZE)
    low = x.bfloat16()
    parameters = {n: p.detach() for n, p in layer.named_parameters()}
    members = {n: torch.stack([p] * 4) for n, p in parameters.items()}

    def under_autocast() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            trained(layer, x)

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, parameters, (x,))[0].sum()

    def penalised() -> None:
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(layer(leaf)[0].square().sum(), leaf, create_graph=True)
        torch.autograd.grad(first.square().sum(), list(layer.parameters()))

    calls: dict[str, Callable[[], object]] = {
        "forward and backward": lambda: trained(layer, x),
        "the same, bfloat16 layer": lambda: trained(half, low),
        "the same, autocast to bfloat16": under_autocast,
        "the same, torch.nn.LSTM": lambda: trained(theirs, x),
        "the same, torch.nn.LSTM in bfloat16": lambda: trained(theirs_half, low),
        "torch.func.grad": lambda: grad(loss)(parameters, x),
        f"gradients of each of {BATCH} sequences, vmap": lambda: vmap(grad(loss), (None, 1))(
            parameters, x
        ),
        f"gradients of each of {BATCH} sequences, a loop": lambda: [
            grad(loss)(parameters, x[:, b]) for b in range(BATCH)
        ],
        "gradients of an ensemble of 4, vmap": lambda: vmap(grad(loss), (0, None))(members, x),
        "jvp in the input": lambda: jvp(lambda x: layer(x)[0], (x,), (v,)),
        "gradient penalty, differentiated twice": penalised,
    }
    found = least(calls)
    plain = found["forward and backward"]
    print(f"LSTM, T {STEPS}, B {BATCH}, I = H = {SIZE}, one thread, least of {ROUNDS}\n")
    for name, milliseconds in found.items():
        print(f"{name:48} {milliseconds:9.1f} ms {milliseconds / plain:7.2f} x")


if __name__ == "__main__":
    main()
