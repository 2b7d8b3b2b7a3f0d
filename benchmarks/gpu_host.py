"""What a call on the GPU costs the host: everything of it but the card's own work.

    python benchmarks/gpu_host.py

On a machine without a card, with tensors on the CPU and kernels that do nothing, so small that
torch's operations cost what it takes to start them. Processor time of the calling thread in
microseconds, the least and the median; and how many of torch's operations a plan has.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from statistics import median

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gatework as gw
from gatework import backends, cells
from gatework.backends.calls import Call
from gatework.backends.gpu import Gpu
from gatework.backends.gpu.machine import Launch
from gatework.compiler.plan import Plan
from gatework.compiler.program import program
from gatework.lang.sizes import Sizes

STEPS, BATCH, UNITS = 4, 1, 16
CALLS, ROUNDS = 200, 15


class Idle:
    """A machine as large as an H100 whose kernels do nothing."""

    architecture, processors, shared, clusters = "sm_90a", 132, 232448, True
    registers = spilled = status = 0

    def kernel(self, text: str, about: str = "") -> Idle:
        return self

    def resident(self, kernel: Idle, launch: Launch) -> int:
        return self.processors // launch.cluster

    def launch(self, launch: Launch, arguments: array[int]) -> None:
        pass


class Counter(TorchDispatchMode):
    """Counts torch's operations."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def operations(call: Callable[[], object]) -> str:
    with Counter() as counter:
        call()
    return f"{counter.count:6d}"


def cost(call: Callable[[], object]) -> str:
    for _ in range(CALLS):
        call()
    found = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(CALLS):
            call()
        found.append((time.thread_time() - start) / CALLS * 1e6)
    return f"{min(found):6.0f} {median(found):6.0f}"


def call_of(plan: Plan, sizes: Sizes) -> Call:
    read = plan.recurrence
    rows = (*read.constants, *read.states)
    tensors = [
        *(torch.zeros(STEPS, BATCH, sizes[s.size]) for s in read.sequences),
        *(torch.zeros(BATCH, sizes[s.size]) for s in rows),
        *(torch.zeros(p.shape(sizes)) for p in read.parameters),
    ]
    return Call((STEPS, BATCH), sizes, tensors)


def main() -> None:
    torch.set_num_threads(1)
    gpu = Gpu(Idle())
    backends._BACKENDS = {"gpu": gpu, **{n: b for n, b in backends._BACKENDS.items() if n != "gpu"}}
    sizes = Sizes.of({"1": 1, "input": UNITS, "hidden": UNITS})
    print(f"{'':34} least median operations")
    for name in ("rnn", "lstm", "gru", "peephole_lstm"):
        plans = program(getattr(cells, name))
        for kind in ("forward", "keeping", "backward"):
            plan = getattr(plans, kind)
            call = call_of(plan, sizes)

            def run(plan=plan, call=call):
                return gpu.run(plan, call)

            print(f"{name + ', its plan ' + kind:34}", cost(run), operations(run))
    for name in ("RNN", "LSTM", "GRU"):
        layer, x = getattr(gw.nn, name)(UNITS, UNITS), torch.zeros(STEPS, BATCH, UNITS)
        sources, g = (x.clone().requires_grad_(), *layer.parameters()), torch.zeros_like(x)

        def infer(layer=layer, x=x):
            with torch.no_grad():
                return layer(x)

        def train(layer=layer, sources=sources, g=g):
            return torch.autograd.grad(layer(sources[0])[0], sources, g)

        with gw.use_backend("gpu"):
            print(f"{'nn.' + name + ', inference':34}", cost(infer))
            print(f"{'nn.' + name + ', training':34}", cost(train))


if __name__ == "__main__":
    main()
