"""How the units, operands and weights of a plan are laid out in a configuration.

Letters: n units of a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from gatework.backends.gpu.configurations import (
    CHUNK,
    FRAGMENT,
    MOST_REGISTERS,
    OCTET,
    OTHER_REGISTERS,
    REGISTERS,
    TILE,
    TILE_SUMS,
    WARP,
    Configuration,
)
from gatework.backends.gpu.group.asking import Asked, Exchange, Phase, is_matrix
from gatework.backends.gpu.loop import BYTES, Setting
from gatework.lang.expressions import Expr, Product

QUARTERS = 4  # of a multiprocessor, each with registers of its own
PACKET = 16  # bytes that are sent at once
FLIGHTS = (8, 4, 2, 1)  # chunks of operands on their way to a warp, in the grid form


@dataclass(frozen=True)
class Use:
    """An operand of a work, with the products that it enters: one for each of some sums."""

    operand: Expr
    products: Mapping[int, Product]  # by the number of the sum in its work
    first: int  # fragment


@dataclass(frozen=True)
class Sums:
    """The sums of a stage for one size.

    Attributes:
        size: The size.
        base: How many sums of the stage come before.
        count: How many there are.
        uses: What is multiplied for them.
    """

    size: str
    base: int
    count: int
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Layout:
    """Where everything is, in numbers.

    Attributes:
        asked: What the plan asks.
        setting: What the kernel is made for.
        configuration: How it is divided.
        room: Bytes of shared memory that a block can have.
    """

    asked: Asked
    setting: Setting
    configuration: Configuration
    room: int

    @property
    def grid(self) -> bool:
        """Whether blocks reach each other through memory; so do those that need not at all."""
        return self.configuration.exchange == "grid"

    @property
    def bytes(self) -> int:
        """Of an element."""
        return BYTES[self.setting.element]

    def wide(self, size: str) -> int:
        """Tiles of a size that a block has."""
        return math.ceil(math.ceil(self.setting.sizes[size] / TILE) / self.configuration.blocks)

    @cached_property
    def tiles(self) -> int:
        """The most that a block has of any size."""
        return max(map(self.wide, self.asked.sizes()), default=1)

    @property
    def several(self) -> bool:
        """Whether blocks have more tiles of some size than of another."""
        return len(set(map(self.wide, self.asked.sizes()))) > 1

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.tiles * self.configuration.warps * WARP

    # ---- exchanges -----------------------------------------------------------------------------

    def share(self, row: Expr) -> int:
        """Chunks of an operand that a warp multiplies."""
        c = self.configuration
        parts, blocks = (1, 1) if c.scattered else (c.warps, c.blocks)
        return math.ceil(self.wide(row.size) * blocks / (parts * self.chunk_tiles))

    @property
    def parts(self) -> int:
        """Into how many the operands of an exchange are divided, a warp multiplies each."""
        return 1 if self.configuration.scattered else self.configuration.warps

    @property
    def columns(self) -> int:
        """How many tiles a warp multiplies its operands for."""
        c = self.configuration
        return c.columns if c.scattered else 1

    @property
    def chunk_tiles(self) -> int:
        """Tiles of a chunk."""
        return CHUNK // (TILE * self.bytes)

    def places(self, exchange: Exchange) -> dict[Expr, int]:
        """The first chunk of each operand of an exchange."""
        found, at = {}, 0
        for row in exchange.operands:
            found[row] = at
            at += self.share(row) * self.parts
        return found

    def packets(self, exchange: Exchange, size: str) -> int:
        """Packets of the partials of a size: of every tile and sequence."""
        sent = self.wide(size) * self.configuration.blocks
        each = math.ceil(len(exchange.of_size(size)) / 4)
        return sent * OCTET * self.configuration.octets * each

    def exchanged(self, k: int) -> int:
        """Bytes of the exchange that a phase waits for."""
        exchange = self.asked.phases[k].exchange
        if exchange is None:
            return 0
        chunks = sum(map(self.share, exchange.operands)) * self.parts
        packets = sum(self.packets(exchange, size) for size in exchange.partial_sizes())
        rows = self.configuration.octets * chunks * CHUNK * OCTET
        return rows + packets * PACKET

    @cached_property
    def step_bytes(self) -> int:
        """Of all exchanges of a step."""
        return sum(map(self.exchanged, range(len(self.asked.phases))))

    @cached_property
    def buffer_bytes(self) -> int:
        """Of the largest exchange."""
        return max(map(self.exchanged, range(len(self.asked.phases))))

    # ---- products ------------------------------------------------------------------------------

    @cached_property
    def sums(self) -> tuple[tuple[Sums, ...], ...]:
        """The sums of each phase, by size."""
        first, found = 0, []
        for phase in self.asked.phases:
            works, base = [], 0
            for size in dict.fromkeys(s.products[0].size for s in phase.sums):
                work = self._work(phase, size, base, first)
                works.append(work)
                base += work.count
                first = self._end(work, first)
            found.append(tuple(works))
        return tuple(found)

    def _work(self, phase: Phase, size: str, base: int, first: int) -> Sums:
        """The sums of a size: each operand once, and again where a sum takes it twice."""
        sums = [s for s in phase.sums if s.products[0].size == size]
        uses: list[tuple[Expr, dict[int, Product]]] = []
        for k, one in enumerate(sums):
            for product in filter(is_matrix, one.products):
                row = product.args[0]
                free = (found for r, found in uses if r is row and k not in found)
                place = next(free, None)
                if place is None:
                    uses.append((row, place := {}))
                place[k] = product
        placed = []
        for row, products in uses:
            placed.append(Use(row, products, first))
            first += self._fragments(row, products)
        return Sums(size, base, len(sums), tuple(placed))

    def _fragments(self, row: Expr, products: Mapping[int, Product]) -> int:
        return 2 * self.share(row) * len(products) * self.columns

    def _end(self, work: Sums, first: int) -> int:
        return first + sum(self._fragments(u.operand, u.products) for u in work.uses)

    @cached_property
    def fragments(self) -> int:
        """Fragments of weights of a warp."""
        return max((self._end(w, w.uses[0].first) for ws in self.sums for w in ws), default=0)

    @cached_property
    def most_sums(self) -> int:
        """The most sums of a stage."""
        return max(sum(w.count for w in works) for works in self.sums)

    # ---- what fits -----------------------------------------------------------------------------

    @cached_property
    def flight(self) -> int:
        """Chunks of operands that are read before they are multiplied."""
        if not self.grid:
            return 1
        rows = [u.operand for ws in self.sums for w in ws for u in w.uses]
        most = max(map(self.share, rows), default=1)
        flights = sorted({min(f, most) for f in FLIGHTS}, reverse=True)
        return next((f for f in flights if self._fits(f)), flights[-1])

    @cached_property
    def kept(self) -> int:
        """How many fragments stay in registers; more if it is tight, else it could not run."""
        kept = max(1, self._roomy(self.flight))
        while self._needed(kept) > self.room and (kept + 1) * 4 + 60 < self.registers:
            if kept >= self.fragments:
                break
            kept += 1
        return kept

    @property
    def tight(self) -> bool:
        """Whether more are kept than there is room for, because shared memory has none either."""
        return self.kept > self._roomy(self.flight)

    def _roomy(self, flight: int) -> int:
        """Fragments that registers have room for; below 1 where they are full without any."""
        return min(max(1, self.fragments), (self.registers - self._busy(flight)) // 4)

    def _fits(self, flight: int) -> bool:
        """Whether all fits with so many in flight, and nothing is tight."""
        roomy = self._roomy(flight)
        return roomy > 0 and self._needed(roomy) <= self.room

    @property
    def registers(self) -> int:
        """Of a thread: each quarter of the multiprocessor has as many warps as the fullest."""
        warps = math.ceil(self.threads / WARP / QUARTERS) * QUARTERS
        return min(MOST_REGISTERS, REGISTERS // (warps * WARP) // 8 * 8)

    def _busy(self, flight: int) -> int:
        """Registers that hold no weights, as estimated."""
        octets = self.configuration.octets
        chains = [w.count if w.count > 1 else 4 for ws in self.sums for w in ws]
        most = self.columns if self.configuration.scattered else max(chains, default=0)
        products = 4 * octets * (most + flight)
        asked = self.asked
        values = len(asked.sequences) + len(asked.plan.recurrence.states) + len(asked.kept)
        polled = flight * self.bytes if self.grid else 0  # whether chunks are there
        parts = 4 * octets if self.bytes == 4 else 0  # of the floats of an operand
        values = self.configuration.pairs * values + len(asked.vectors)
        return OTHER_REGISTERS + polled + parts + products + values

    @property
    def head(self) -> int:
        """Bytes of the barriers in front of the operands."""
        return 0 if self.grid else math.ceil(16 * (self.configuration.warps + 1) / 128) * 128

    @property
    def sums_at(self) -> int:
        """Where the sums of the parts lie in shared memory."""
        return self.head + (0 if self.grid else 2 * self.buffer_bytes)

    @property
    def weights_at(self) -> int:
        """Where the weights lie that are not in registers."""
        c = self.configuration
        parts = c.blocks if c.scattered else c.warps * self.most_sums
        return self.sums_at + 2 * self.tiles * parts * c.octets * TILE_SUMS

    def _needed(self, kept: int) -> int:
        warps = self.tiles * self.configuration.warps
        return self.weights_at + warps * max(0, self.fragments - kept) * FRAGMENT

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        return self._needed(self.kept)
