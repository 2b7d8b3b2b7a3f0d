"""The form `group` in every configuration that is considered, beside the one that it takes.

    python benchmarks/gpu_configurations.py
    python benchmarks/gpu_configurations.py --cells gru --shapes 16,256,512,512 --precision fp32

On a card with CUDA: the times of the three plans, whole calls as replays of CUDA graphs, in lines
as `tests/backends/gpu/measured.csv` has them. The rule of `gatework.backends.gpu.choosing` is right
where its choice is within a tenth of the best. Exit code 1 where it is not. Texts are compiled one
after the other, a second each; after five minutes no further case is begun.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch

from gatework.autograd.job import Job
from gatework.backends.calls import Call
from gatework.backends.gpu import Gpu
from gatework.backends.gpu.configurations import Configuration
from gatework.backends.gpu.group import configurations, group, loop, placed
from gatework.backends.gpu.group.asking import ask
from gatework.backends.gpu.loop import Form
from gatework.backends.reference import Reference
from gatework.bench import Pace, Shape, parse_shapes
from gatework.bench.gpu import PRECISIONS, Precision, moved
from gatework.bench.gpu.calls import replayed, timed
from gatework.bench.problem import make_problem
from gatework.cells import catalogue
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import aliases_of
from gatework.lang import Cell
from gatework.nn.parameters import own_parameters

SHAPES = ["8,512,256,256", "16,256,512,512", "64,256,512,512", "16,256,768,768"]
SECONDS = 270.0
WITHIN = 1.1
PACE = Pace(total=0.05, turn=0.01, rest=0)
COLUMNS = "cell,pass,batch,steps,units,element,blocks,tiles,warps,octets,groups,exchange,sent,us"


class Case(NamedTuple):
    """A plan that is run in every configuration."""

    cell: Cell
    shape: Shape
    precision: Precision
    name: str
    plan: Plan
    call: Call


def cases(cell: Cell, shape: Shape, precision: Precision, device: torch.device) -> Iterator[Case]:
    """The three plans of a cell, with random tensors."""
    problem = moved(make_problem(cell, shape, "inference"), precision, device)
    layer = problem.layer
    job = Job(layer.cell, layer.sizes(0))
    weights = own_parameters(layer, layer._stack[0][0].names)
    begun = [None] * len(cell.states)
    tensors = [problem.x, *begun, *(weight.detach() for weight in weights)]
    call, plans = job.call(tensors, None), job.program
    yield Case(cell, shape, precision, "forward", plans.forward, call)
    yield Case(cell, shape, precision, "keeping", plans.keeping, call)
    kept = job.pick_kept(Reference().run(plans.keeping, call).outputs)
    filled = job.filled(tensors)
    ends = [torch.zeros_like(state) for state in filled[1 : 1 + len(cell.states)]]
    back = job.backward_call(filled, None, kept, [problem.dy, *ends], [True] * len(filled))
    yield Case(cell, shape, precision, "backward", plans.backward, back)


def considered(case: Case, machine: object = None) -> list[Configuration]:
    """The configurations of a case, the one that is taken first; none where it has another form."""
    prepared = Gpu(machine, [group]).prepared(case.plan, case.call)
    if isinstance(prepared, str):
        return []
    asked = ask(case.plan, aliases_of(case.plan))
    found = configurations(asked, prepared.setting, prepared.machine)
    taken = placed(asked, prepared.setting, prepared.machine, found).configuration
    return [taken, *(c for c in found if c != taken)]


def only(configuration: Configuration) -> Form:
    """The form in one configuration."""

    def form(plan, setting, machine):
        return loop(ask(plan, aliases_of(plan)), setting, machine, [configuration])

    return form


def microseconds(case: Case, configuration: Configuration, machine: object = None) -> float | None:
    """Of a step; None where the configuration does not fit or cannot be captured."""
    backend = Gpu(machine, [only(configuration)])
    if isinstance(backend.prepared(case.plan, case.call), str):
        return None
    on_card = case.call.like.is_cuda

    def call() -> object:
        return backend.run(case.plan, case.call)

    call()
    replay = replayed(call) if on_card else call
    if replay is None:
        return None
    wait = torch.cuda.synchronize if on_card else lambda: None
    return 1e3 * timed({"it": replay}, PACE, wait)["it"].median / case.shape.steps


def measure(case: Case, most: int, machine: object = None) -> bool:
    """Print the lines of a case; whether the choice is within a tenth of the best."""
    times: dict[Configuration, float] = {}
    for configuration in considered(case, machine)[:most]:
        time_ = microseconds(case, configuration, machine)
        if time_ is not None:
            times[configuration] = time_
            print(line(case, configuration, time_), flush=True)
    if not times:
        print(f"# {case.cell.name} {case.shape} {case.name}: no group", flush=True)
        return True
    taken, best = next(iter(times.values())), min(times.values())
    said = f"{case.cell.name} {case.shape} {case.precision.name} {case.name}"
    print(f"# {said}: the choice takes {taken / best:.2f} of the best's time", flush=True)
    return taken <= WITHIN * best


def line(case: Case, c: Configuration, time_: float) -> str:
    """A measurement, as in the tests' file."""
    batch, steps, _, units = case.shape
    sent = "sums" if c.scattered else "operands"
    about = (case.cell.name, case.name, batch, steps, units, case.precision.name)
    divided = (c.blocks, c.tiles, c.warps, c.octets, c.groups, c.exchange, sent)
    return ",".join(map(str, (*about, *divided, f"{time_:.2f}")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "gru_reset_before"])
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=list(PRECISIONS))
    parser.add_argument("--most", type=int, default=8, help="configurations of a plan")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no card with CUDA that torch can use")
    start, right = time.perf_counter(), []
    print(COLUMNS)
    for shape in parse_shapes(asked.shapes):
        for name in asked.cells:
            for precision in map(PRECISIONS.__getitem__, asked.precision):
                if time.perf_counter() - start > asked.seconds:
                    print(f"# no time for {name} {shape} {precision.name}")
                    continue
                with precision.allowed(), torch.no_grad():
                    found = cases(catalogue()[name], shape, precision, torch.device("cuda"))
                    right += [measure(case, asked.most) for case in found]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
