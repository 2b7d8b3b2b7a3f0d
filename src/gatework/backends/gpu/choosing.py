"""Which configuration of the form `group` is the likely fastest, from what parts of a step cost.

The factors are microseconds on a Hopper. They are such that, of the configurations that were
measured there, the first choice is within a tenth of the best, see
`tests/backends/gpu/test_configurations.py`. They compare configurations; they do not predict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gatework.backends.gpu.configurations import (
    CHUNK,
    FRAGMENT,
    OCTET,
    Configuration,
    Demand,
    Exchange,
    chains,
    divides,
    fit,
    is_even,
    share,
)
from gatework.backends.gpu.machine import Machine

WARPS = (4, 8, 5, 12, 16, 10, 6, 2, 3, 1)  # of a tile, in the order in which they are tried
ALIKE = 3  # configurations that are compared of those that differ in warps or blocks alone
RESERVED = 1024  # bytes of shared memory for barriers and such
PROCESSORS = 132  # of the card that was measured
LARGE_CLUSTERS, SMALL_CLUSTERS = 7, 15  # that it runs at once, of more than 8 blocks and of others
OCTETS = (1, 2, 4)  # of a group in a grid
CYCLES = 1980  # of a microsecond


def candidates(demand: Demand, machine: Machine) -> list[Configuration]:
    """Configurations that fit a machine, the likely fastest first, crowded ones after all others.

    Args:
        demand: What the plan asks.
        machine: Where it shall run.
    """
    found = list(_clusters(demand, machine.processors)) if machine.clusters else []
    found += _grids(demand, machine.processors)
    found = [c for c in found if divides(c)]
    shared = machine.shared - RESERVED
    even = _compared([c for c in found if is_even(c, demand)], demand, shared)
    return even or _compared(found, demand, shared)


def _compared(found: list[Configuration], demand: Demand, shared: int) -> list[Configuration]:
    """Those that fit, a few of each kind, the likely fastest first."""
    chosen: dict[tuple[Exchange, bool, int, int], list[Configuration]] = {}
    for c in found:
        alike = chosen.setdefault((c.exchange, c.scattered, c.tiles, c.octets), [])
        if len(alike) < ALIKE and fit(c, demand, shared):
            alike.append(c)
    fitting = [c for alike in chosen.values() for c in alike]

    def likely(c: Configuration) -> tuple[bool, float]:
        placed = fit(c, demand, shared)
        return placed is not None and placed.crowded, step_time(c, demand, shared)

    return sorted(fitting, key=likely)


def _clusters(demand: Demand, processors: int) -> Iterator[Configuration]:
    """Groups that are clusters of up to 16 blocks."""
    tiles = demand.tiles
    for blocks in sorted(range(1, 17), key=lambda n: (math.ceil(tiles / n), n)):
        wide = math.ceil(tiles / blocks)
        if wide > 4 or (blocks - 1) * wide >= tiles:
            continue
        most = max(1, (LARGE_CLUSTERS if blocks > 8 else SMALL_CLUSTERS) * processors // PROCESSORS)
        groups = math.ceil(demand.batch / math.ceil(demand.batch / most))
        octets = min(2, math.ceil(math.ceil(demand.batch / groups) / OCTET))
        for warps in WARPS:
            if tiles < 4 or (4 <= wide * warps <= 16 and warps <= 4 * octets + 4):
                yield Configuration(blocks, wide, warps, octets, groups)
            if demand.scatters and wide * warps <= 16:
                yield Configuration(blocks, wide, warps, octets, groups, scattered=True)


def _grids(demand: Demand, processors: int) -> Iterator[Configuration]:
    """Groups whose blocks are anywhere on the card; all of them have to be there at once."""
    for wide in (1, 2):
        blocks = math.ceil(demand.tiles / wide)
        for octets in _octets(demand.batch, processors // blocks):
            groups = min(processors // blocks, math.ceil(demand.batch / (OCTET * octets)))
            for warps in sorted(WARPS, key=lambda n: abs(wide * n - 9)):
                if 4 <= wide * warps <= 16:
                    yield Configuration(blocks, wide, warps, octets, groups, "grid")


def _octets(batch: int, groups: int) -> list[int]:
    """Octets of a group: the fewest that run all sequences at once, and fewer, in rounds."""
    enough = (n for n in OCTETS if math.ceil(batch / (OCTET * n)) <= groups)
    most = next(enough, OCTETS[-1])
    return [n for n in reversed(OCTETS) if n <= most] if groups else []


# ---- what a step costs ---------------------------------------------------------------------------


def step_time(c: Configuration, demand: Demand, shared: int) -> float:
    """About how long a step takes, infinitely where the weights do not fit."""
    once = _exchange(c, demand) + _products(c, demand, shared) + _units(c, demand)
    return once * c.rounds(demand.batch)


def _exchange(c: Configuration, demand: Demand) -> float:
    """Until operands or partial sums are with all who need them: the way, sending, arriving."""
    operands = sum(p.operands for p in demand.stages)
    rows = c.padded * min(c.sequences(demand.batch), OCTET * c.octets)
    received = rows * (4 if c.scattered else operands * demand.element)  # bytes
    if c.exchange == "grid":
        waited = sum(share(c, demand, p) * demand.element / CHUNK for p in demand.stages)
        return 0.8 * len(demand.stages) + 1e-6 * received + 0.046 * waited * c.octets
    sent = c.columns * c.octets if c.scattered else operands * c.pairs * c.blocks / 4
    way = 0.42 * len(demand.stages) if c.blocks > 1 else 0
    return way + 2.9e-6 * received + 0.052 * sent


def _products(c: Configuration, demand: Demand, shared: int) -> float:
    """A product takes a quarter of a multiprocessor 8 cycles, and 32 until its sum can be used."""
    placed = fit(c, demand, shared)
    if placed is None:
        return math.inf
    sums = c.columns if c.scattered else min(chains(c, demand, p) for p in demand.stages)
    cycles = max(8 * math.ceil(c.block_warps / 4), 32 / (sums * c.octets))
    each = 3 if demand.element == 4 else 1  # float32 is split in two, which makes three products
    read = (
        (placed.fragments - placed.kept) * c.block_warps * FRAGMENT / 128
    )  # cycles, shared memory
    return (1.16 * placed.fragments * c.octets * each * cycles + 0.3 * read) / CYCLES


def _units(c: Configuration, demand: Demand) -> float:
    """The work unit by unit, and that warps meet before it, which costs more the more they are.

    In float32, where products wait for each other, many warps of a tile gain that again.
    """
    alone = c.exchange == "grid" and c.tiles == c.octets == 1
    meeting = 0 if alone and demand.element == 4 else len(demand.stages) * c.block_warps
    return 0.024 * meeting + 0.011 * c.pairs * (demand.reads + 4)
