"""States with axes: DeltaNet, gated DeltaNet and the mLSTM beside loops of torch's with `bmm`.

    python benchmarks/axes.py
    python benchmarks/axes.py --cells delta_net --keys 16 --shape 16,100
    python benchmarks/axes.py --threads 1 --processor-time

One head with 64 values and 4, 16 and 64 keys. Both compute the same numbers from the same weights,
which is checked first; their calls take turns, and the medians of wall-clock times are compared,
on a busy machine better those of the processor's time on one thread.
Wanted: 12 times the loop's speed in training. The first call's time is the processor's, of a
process with no kernel of this shape in memory and with torch at work already; kernels on disk are
found if there are any.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize, silu

import gatework as gw

WANTED = 12.0
VALUES, FEATURES = 64, 64

Gates = dict[str, Tensor]  # the maps of the input [T, B, n] of every gate


def gates_of(layer: gw.nn.Recurrent, x: Tensor) -> Gates:
    """One product for all gates, as the layer has it."""
    weight, bias = layer.weight_ih_l0, getattr(layer, "bias_ih_l0", None)
    mapped, found = x @ weight.T, {}
    own, sizes = {p.name: p for p in layer.cell.parameters}, layer.sizes(0)
    for gate, rows in own["weight_ih"].spans(sizes).items():
        found[gate] = mapped[..., rows]
    if bias is not None:
        for gate, rows in own["bias_ih"].spans(sizes).items():
            found[gate] = found[gate] + bias[rows]
    return found


def delta_net(g: Gates, S: Tensor, forget: Tensor | None = None) -> Tensor:
    """The delta rule, with two batched products a step [B, K, V]."""
    q, k = (normalize(silu(g[n]), dim=-1)[:, :, None] for n in "qk")
    b, rows = torch.sigmoid(g["b"])[:, :, None], []
    for t in range(len(b)):
        S = S if forget is None else forget[t] * S
        right = b[t] * (g["v"][t][:, None] - torch.bmm(k[t], S))
        S = torch.baddbmm(S, k[t].transpose(1, 2), right)
        rows.append(torch.bmm(q[t], S)[:, 0])
    return torch.stack(rows)


def gated_delta_net(g: Gates, S: Tensor) -> Tensor:
    """The same with a gate that forgets."""
    return delta_net(g, S, torch.sigmoid(g["a"])[:, :, None])


def mlstm(g: Gates, C: Tensor) -> Tensor:
    """The matrix memory of the xLSTM."""
    q, k = g["q"][:, :, None], g["k"][:, :, None] / C.shape[1] ** 0.5
    log_f, o, rows = logsigmoid(g["log_f"]), torch.sigmoid(g["o"]), []
    n, m = C.new_zeros(len(C), 1, C.shape[1]), C.new_zeros(len(C), 1)
    for t in range(len(q)):
        kept = log_f[t] + m
        m = torch.maximum(kept, g["i"][t])
        i, f = torch.exp(g["i"][t] - m)[:, :, None], torch.exp(kept - m)[:, :, None]
        C = torch.baddbmm(f * C, k[t].transpose(1, 2), i * g["v"][t][:, None])
        n = f * n + i * k[t]
        down = torch.maximum((n * q[t]).sum(-1).abs(), torch.exp(-m))
        rows.append(o[t] * torch.bmm(q[t], C)[:, 0] / down)
    return torch.stack(rows)


LOOPS: dict[str, Callable[[Gates, Tensor], Tensor]] = {
    "delta_net": delta_net,
    "gated_delta_net": gated_delta_net,
    "mlstm": mlstm,
}


Clock = Callable[[], float]


def measure(name: str, keys: int, shape: tuple[int, int], turns: int, clock: Clock) -> bool:
    """Print one line; whether training is as fast as wanted."""
    batch, steps = shape
    cell = gw.cells.catalogue()[name]
    layer = gw.nn.Recurrent(cell, FEATURES, head=1, key=keys, value=VALUES)
    x = torch.randn(steps, batch, FEATURES)
    start, dy = torch.zeros(batch, keys, VALUES), torch.randn(steps, batch, VALUES)
    weights = list(layer.parameters())
    results = {
        "gatework": lambda: layer(x)[0],
        "torch": lambda: LOOPS[name](gates_of(layer, x), start),
    }

    def train(who: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(results[who](), weights, dy)

    theirs = train("torch")
    begin = time.process_time()
    ours = train("gatework")
    first = time.process_time() - begin
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(turns):
        for who, result in results.items():
            begin = clock()
            with torch.no_grad():
                result()
            middle = clock()
            train(who)
            times.setdefault((who, "inference"), []).append(middle - begin)
            times.setdefault((who, "training"), []).append(clock() - middle)
    typical = {key: statistics.median(taken) for key, taken in times.items()}
    ratios = {k: typical["torch", k] / typical["gatework", k] for k in ("inference", "training")}
    print(
        f"| {name} | {keys} | {1e3 * typical['gatework', 'inference']:.2f} | "
        f"{ratios['inference']:.1f}x | {1e3 * typical['gatework', 'training']:.2f} | "
        f"{ratios['training']:.1f}x | {first:.2f} |",
        flush=True,
    )
    return ratios["training"] >= WANTED


def main() -> None:
    """Measure every cell with every number of keys."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(LOOPS), choices=list(LOOPS))
    parser.add_argument("--keys", nargs="+", type=int, default=[4, 16, 64])
    parser.add_argument("--shape", default="16,100", help="B,T")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--processor-time", action="store_true")
    asked = parser.parse_args()
    clock = time.process_time if asked.processor_time else time.perf_counter
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    batch, steps = map(int, asked.shape.split(","))
    print("| cell | keys | inference, ms | torch's | training, ms | torch's | first call, s |")
    print("|---|---|---|---|---|---|---|")
    shape = (batch, steps)
    met = [measure(c, k, shape, asked.turns, clock) for c in asked.cells for k in asked.keys]
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
