"""How the form `group` divides a plan's recurrent products among blocks, warps and groups.

A group of blocks holds the recurrent weights once and runs some of the sequences through all steps;
groups know nothing of each other. Gates are the rows of a product of matrices and sequences its
columns, so weights come in tiles of 16 units and sequences in octets. A tile is worked by some
warps, each of which has a share of the sum over the operand.

Blocks of a group send each other their units' operands, so that each has those of all units
(all-gather). Or, where a step has a single sum of products, each block multiplies its own units'
operands by the weights of all units, and sends the partial sums to whom they belong
(reduce-scatter). They reach each other through the shared memory of a cluster, or through the
card's second-level cache, where any block of the grid reaches any.

Letters: H units, B sequences, K the length of an operand's share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple

Exchange = Literal["cluster", "grid"]

TILE, OCTET, WARP = 16, 8, 32
CHUNK = 64  # bytes of an operand that a warp reads at once: two steps of a product
REGISTERS = 65536  # of a multiprocessor
MOST_REGISTERS = 255  # of a thread
OTHER_REGISTERS = 56  # of a thread: addresses, counters, the values of a unit
TILE_SUMS = 640  # bytes of the sums of a tile and an octet: 8 rows of 16 in float32, padded to 20
FRAGMENT = 512  # bytes of a warp's fragment of weights
FLIGHTS = (8, 4, 2, 1)  # chunks of an operand in flight, in a grid; in a cluster they are there
CROWDED = 16  # fragments' worth of registers that a crowded thread needs for all else
STEP = 32  # bytes of an operand that one step of a product takes


class Products(NamedTuple):
    """The products of one stage.

    Attributes:
        sums: How many rows of sums they give: products that are only added share one.
        operands: How many different rows they multiply.
    """

    sums: int
    operands: int


@dataclass(frozen=True)
class Demand:
    """What a plan asks of a group.

    Attributes:
        units: H.
        batch: B.
        element: Bytes of a number of weights and operands.
        stages: The stages that have products.
        reads: Rows of sequences that are loaded a step ahead.
        first: Whether the first products multiply states, so that a step begins with them.
    """

    units: int
    batch: int
    element: int
    stages: tuple[Products, ...]
    reads: int = 0
    first: bool = True

    @property
    def tiles(self) -> int:
        """Tiles of 16 units, so many that every operand is whole chunks."""
        least = math.ceil(self.units / TILE)
        lengths = [p.operands * TILE * self.element for p in self.stages]
        return next(n for n in count(least) if not any(n * length % CHUNK for length in lengths))

    @property
    def scatters(self) -> bool:
        """Whether partial sums could be sent in place of operands."""
        return len(self.stages) == 1 and not self.first and self.stages[0].sums == 1


@dataclass(frozen=True)
class Configuration:
    """How the units and sequences of a plan are divided.

    Attributes:
        blocks: Blocks of a group.
        tiles: Tiles of 16 units of a block.
        warps: Warps of a tile.
        octets: Tiles of 8 sequences of a group.
        groups: How many groups there are.
        exchange: Through what blocks of a group reach each other.
        scattered: Whether they send partial sums (reduce-scatter), not operands.
    """

    blocks: int
    tiles: int
    warps: int
    octets: int
    groups: int
    exchange: Exchange = "cluster"
    scattered: bool = False

    @property
    def block_warps(self) -> int:
        """Warps of a block."""
        return self.tiles * self.warps

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.block_warps * WARP

    @property
    def pairs(self) -> int:
        """Pairs of a unit and a sequence that a thread has."""
        return math.ceil(4 * self.octets / self.warps)

    @property
    def columns(self) -> int:
        """Tiles of the group that a warp multiplies its block's operands for, if sums are sent."""
        return self.blocks // self.warps

    @property
    def padded(self) -> int:
        """Units, with those that only fill the last tiles."""
        return self.blocks * self.tiles * TILE

    def rounds(self, batch: int) -> int:
        """How often all groups run as many sequences as they have octets for."""
        return math.ceil(batch / (self.groups * OCTET * self.octets))

    def sequences(self, batch: int) -> int:
        """Sequences that a group runs at once, the last one may have fewer."""
        return math.ceil(batch / (self.groups * self.rounds(batch)))


@dataclass(frozen=True)
class Fit:
    """Where the weights of a configuration lie.

    Attributes:
        fragments: Fragments of weights of a warp.
        kept: How many of them stay in its registers; the rest lies in shared memory.
        flight: Chunks of an operand that are read ahead of the product.
        shared: Bytes of shared memory of a block.
        crowded: Whether more is in registers than there seems to be room for.
    """

    fragments: int
    kept: int
    flight: int
    shared: int
    crowded: bool


def share(configuration: Configuration, demand: Demand, products: Products) -> int:
    """K, the elements of all operands that one warp multiplies, of one stage's products."""
    c, chunk = configuration, CHUNK // demand.element
    units, warps = (c.tiles * TILE, 1) if c.scattered else (c.padded, c.warps)
    return products.operands * math.ceil(units / (warps * chunk)) * chunk


def steps(c: Configuration, demand: Demand, products: Products) -> int:
    """Steps of a warp's product with its share of an operand."""
    return share(c, demand, products) * demand.element // STEP


def divides(configuration: Configuration) -> bool:
    """Whether warps share octets, and the tiles of other blocks, without a rest."""
    c = configuration
    pairs = 4 * c.octets  # of sequences, which the warps of a tile share after the product
    if c.threads > 1024 or not (c.warps >= pairs or pairs % c.warps == 0):
        return False
    return not c.scattered or c.blocks % c.warps == 0


def is_even(configuration: Configuration, demand: Demand) -> bool:
    """Whether warps share operands without a rest: else some multiply zeros, or wait."""
    c, chunk = configuration, CHUNK // demand.element
    lengths = [p.operands * c.padded for p in demand.stages]
    return c.scattered or all(n % (c.warps * chunk) == 0 for n in lengths)


def fit(configuration: Configuration, demand: Demand, shared: int) -> Fit | None:
    """Where the weights lie, None where they do not fit.

    As many as registers have room for, with as many chunks in flight as possible. Where that leaves
    too much for shared memory, more: estimates are careful, and a crowded thread better than none.

    Args:
        configuration: How the work is divided.
        demand: What the plan asks.
        shared: Bytes of shared memory that a block can have.
    """
    c, fragments = configuration, _fragments(configuration, demand)
    other = _operands(c, demand) + _sums(c, demand)

    def placed(flight: int, kept: int) -> Fit:
        needed = other + c.block_warps * (fragments - kept) * FRAGMENT
        return Fit(fragments, kept, flight, needed, kept > _room(c, demand, flight))

    rooms = {flight: _room(c, demand, flight) for flight in _flights(c, demand)}
    roomy = [placed(flight, min(fragments, room)) for flight, room in rooms.items() if room > 0]
    least = range(1, min(fragments, _most_registers(c) // 4 - CROWDED) + 1)
    found = (*roomy, *(placed(min(rooms), kept) for kept in least))
    return next((f for f in found if f.shared <= shared), None)


def _fragments(c: Configuration, demand: Demand) -> int:
    """Fragments of weights of a warp."""
    columns = [c.columns if c.scattered else p.sums for p in demand.stages]
    return sum(steps(c, demand, p) * n for p, n in zip(demand.stages, columns, strict=True))


def _flights(c: Configuration, demand: Demand) -> list[int]:
    """How many chunks of an operand may be in flight, the most first."""
    longest = max(share(c, demand, p) for p in demand.stages) * demand.element // CHUNK
    flights = FLIGHTS if c.exchange == "grid" else FLIGHTS[-1:]
    return list(dict.fromkeys(min(f, max(1, longest)) for f in flights))


def _room(c: Configuration, demand: Demand, flight: int) -> int:
    """Fragments that there are registers for, beside sums, chunks in flight and what is read."""
    sums = c.columns if c.scattered else max(chains(c, demand, p) for p in demand.stages)
    work = OTHER_REGISTERS + 4 * c.octets * (sums + flight) + c.pairs * demand.reads
    return (_most_registers(c) - work) // 4


def _most_registers(c: Configuration) -> int:
    """Of a thread."""
    return min(MOST_REGISTERS, REGISTERS // c.threads // 8 * 8)


def chains(c: Configuration, demand: Demand, products: Products) -> int:
    """Accumulators of a warp: a single sum is summed in up to four, so that products overlap."""
    return products.sums if products.sums > 1 else min(4, steps(c, demand, products))


def _operands(c: Configuration, demand: Demand) -> int:
    """Bytes of shared memory of the operands of two steps, in a cluster."""
    if c.exchange == "grid":
        return 0
    operands = max(p.operands for p in demand.stages)
    tiles = c.tiles * operands * (1 if c.scattered else c.blocks)
    whole = CHUNK // demand.element // TILE or 1
    return 2 * c.octets * -(-tiles // whole) * whole * OCTET * TILE * demand.element


def _sums(c: Configuration, demand: Demand) -> int:
    """Bytes of shared memory of the partial sums of two steps."""
    parts = c.blocks if c.scattered else c.warps * max(p.sums for p in demand.stages)
    return 2 * c.tiles * parts * c.octets * TILE_SUMS
