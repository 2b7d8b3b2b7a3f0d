"""Maps per head: the sLSTM with block-diagonal recurrent matrices beside that with full ones.

    python benchmarks/heads.py
    python benchmarks/heads.py --units 256 --heads 8 --shape 1,100 --threads 1

The full one is given the blocks, and zeros around them, so both compute the same numbers, which is
checked first; their calls take turns, and the medians of the processor's times are compared, which
other work on the machine moves little. Wanted: of the full one's time the same part as of its
weights, and a tenth of it more at most, since what is done unit by unit is as much in both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from torch import Tensor

import gatework as gw

GATES, MORE = 4, 0.1


def both(units: int, heads: int) -> dict[str, gw.nn.Recurrent]:
    """Two layers that compute the same."""
    full = gw.nn.Recurrent(gw.cells.slstm, units, units)
    per_head = gw.nn.Recurrent(gw.cells.slstm_heads, units, units, head=heads)
    weights = per_head.state_dict()
    weights["weight_hh_l0"] = spread(weights["weight_hh_l0"], heads)
    full.load_state_dict(weights)
    return {"full": full, "heads": per_head}


def spread(blocks: Tensor, heads: int) -> Tensor:
    """Block-diagonal matrices [4·units, units] from the blocks of gates [4·units, units/heads]."""
    gates = (torch.block_diag(*gate.chunk(heads)) for gate in blocks.chunk(GATES))
    return torch.cat(tuple(gates))


def train(layer: gw.nn.Recurrent, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
    """The output and the gradients of all weights."""
    y, _ = layer(x)
    names, weights = zip(*layer.named_parameters(), strict=True)
    return {"y": y, **dict(zip(names, torch.autograd.grad(y, weights, dy), strict=True))}


def check(layers: dict[str, gw.nn.Recurrent], x: Tensor, dy: Tensor, heads: int) -> None:
    """Raise unless both compute the same."""
    full, found = (train(layers[who], x, dy) for who in ("full", "heads"))
    blocks = found["weight_hh_l0"]
    found["weight_hh_l0"] = spread(blocks, heads)
    full["weight_hh_l0"] = full["weight_hh_l0"] * spread(torch.ones_like(blocks), heads)
    for name, value in full.items():
        tolerance = 1e-3 * value.abs().max().item()
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=tolerance)


def measure(units: int, heads: int, shape: tuple[int, int], turns: int) -> bool:
    """Print one line; whether the blocks take about the same part of the time as of the weights."""
    batch, steps = shape
    layers = both(units, heads)
    x, dy = torch.randn(steps, batch, units), torch.randn(steps, batch, units)
    check(layers, x, dy, heads)
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(turns):
        for who, layer in layers.items():
            begin = time.process_time()
            with torch.no_grad():
                layer(x)
            middle = time.process_time()
            train(layer, x, dy)
            times.setdefault((who, "inference"), []).append(middle - begin)
            times.setdefault((who, "training"), []).append(time.process_time() - middle)
    typical = {key: statistics.median(taken) for key, taken in times.items()}
    count = {who: sum(p.numel() for p in layer.parameters()) for who, layer in layers.items()}
    part = {k: typical["heads", k] / typical["full", k] for k in ("inference", "training")}
    weights = count["heads"] / count["full"]
    print(
        f"| {units} | {heads} | {weights:.2f} | {1e3 * typical['heads', 'inference']:.2f} | "
        f"{part['inference']:.2f} | {1e3 * typical['heads', 'training']:.2f} | "
        f"{part['training']:.2f} |",
        flush=True,
    )
    return max(part.values()) <= weights + MORE


def main() -> None:
    """Measure every number of units."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--shape", default="32,50", help="B,T")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    batch, steps = map(int, asked.shape.split(","))
    print("| units | heads | part of the weights | inference, ms | part | training, ms | part |")
    print("|---|---|---|---|---|---|---|")
    met = [measure(n, asked.heads, (batch, steps), asked.turns) for n in asked.units]
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
