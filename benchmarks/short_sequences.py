"""From how many steps on a layer is faster than torch's: what `fewest_steps` in nn/swapped.py says.

    python benchmarks/short_sequences.py

Each figure is torch's least processor time over ours, inference and training, in turns on one
thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

import gatework as gw

SHAPES = ((1, 32), (1, 128), (16, 64), (64, 256))  # sequences, units
SECONDS = 0.5


def ratio(theirs: Callable[[], object], ours: Callable[[], object]) -> float:
    best = [float("inf")] * 2
    for function in (theirs, ours):
        function()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for k, function in enumerate((theirs, ours)):
            start = time.process_time()
            function()
            best[k] = min(best[k], time.process_time() - start)
    return best[0] / best[1]


def main() -> None:
    torch.set_num_threads(1)
    kinds = dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2, 3, 4, 6, 8))
    kinds |= {f"{name}Cell": (None,) for name in kinds}
    print("layer, steps:", *(f"B {b} H {h}" for b, h in SHAPES), sep="   ")
    for name, all_steps in kinds.items():
        for steps in all_steps:
            figures = []
            for batch, hidden in SHAPES:
                theirs, ours = (getattr(m, name)(hidden, hidden) for m in (torch.nn, gw.nn))
                x = torch.randn(*([steps] if steps else []), batch, hidden)

                def infer(module, x=x):
                    with torch.no_grad():
                        return module(x)

                def train(module, x=x):
                    y = module(x)
                    (y[0] if isinstance(y, tuple) else y).sum().backward()

                pair = [
                    ratio(lambda r=run, m=theirs: r(m), lambda r=run, m=ours: r(m))
                    for run in (infer, train)
                ]
                figures.append("{:.2f} {:.2f}".format(*pair))
            print(f"{name}, {steps or 'one'}:", *figures, sep="   ", flush=True)


if __name__ == "__main__":
    main()
