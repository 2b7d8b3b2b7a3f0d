"""What regularisation costs: the time of a layer with one option over that of the plain layer.

    python benchmarks/regularisation.py
    python benchmarks/regularisation.py --cells lstm gru --shape 16,100,256,256

Calls take turns, so that a busy machine slows all of them; the median over the rounds of the ratio
is shown. Wanted: each at most 1.3 times. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch

import gatework as gw
from gatework.bench import Pace, Shape, parse_shapes
from gatework.bench.timing import interleaved

WANTED = 1.3
OPTIONS = {
    "plain": {},
    "input dropout": {"input_dropout": 0.2},
    "recurrent dropout": {"recurrent_dropout": 0.2},
    "both dropouts": {"input_dropout": 0.2, "recurrent_dropout": 0.2},
    "weight drop": {"weight_drop": 0.5},
    "zoneout of every state": {"zoneout": 0.1},
    "layer norm": {"layer_norm": True},
}


def layer_of(cell: str, shape: Shape, options: dict[str, object]) -> gw.nn.Recurrent:
    return gw.nn.Recurrent(gw.cells.catalogue()[cell], shape.features, shape.units, **options)


def inference(cell: str, shape: Shape, options: dict[str, object]) -> Callable[[], object]:
    """A call in eval mode, without gradients."""
    layer = layer_of(cell, shape, options).eval()
    x = torch.randn(shape.steps, shape.batch, shape.features)

    def call() -> object:
        with torch.no_grad():
            return layer(x)

    return call


def training(cell: str, shape: Shape, options: dict[str, object]) -> Callable[[], object]:
    """A call in training mode and the gradients of everything."""
    layer = layer_of(cell, shape, options)
    x = torch.randn(shape.steps, shape.batch, shape.features, requires_grad=True)
    g = torch.randn(shape.steps, shape.batch, shape.units)

    def call() -> object:
        return torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], g)

    return call


def ratios(cell: str, shape: Shape, kind: str, seconds: float) -> dict[str, float]:
    """How many times the plain layer's time each option takes."""
    make = {"inference": inference, "training": training}[kind]
    works = {name: make(cell, shape, options) for name, options in OPTIONS.items()}
    for call in works.values():
        call()
    samples = interleaved(works, Pace(total=seconds, rounds=15))
    plain = samples.pop("plain").turns
    return {
        name: statistics.median(a / b for a, b in zip(sample.turns, plain, strict=True))
        for name, sample in samples.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["rnn", "lstm", "gru"], metavar="CELL")
    parser.add_argument("--shape", default="16,100,256,256", help="B,T,I,H")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each cell and kind")
    options = parser.parse_args()
    (shape,) = parse_shapes([options.shape])
    torch.set_num_threads(options.threads)
    worst = 0.0
    print(f"| {shape}, {options.threads} thread(s) | inference | training |\n|---|---|---|")
    for cell in options.cells:
        kinds = [ratios(cell, shape, kind, options.seconds) for kind in ("inference", "training")]
        for name in kinds[0]:
            found = [kind[name] for kind in kinds]
            worst = max(worst, *found)
            print(f"| {cell}, {name} | {found[0]:.2f}x | {found[1]:.2f}x |", flush=True)
    print(f"\nat most {worst:.2f}x (wanted {WANTED}x)")
    sys.exit(0 if worst <= WANTED else 1)


if __name__ == "__main__":
    main()
