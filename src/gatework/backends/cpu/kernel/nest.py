"""The values of a stage that have several axes: loops over the axes of a row, a vector at a time.

A value that lacks an axis is read at the same place for every index of it: once before the
innermost loop if it lacks the last axis, in every lane. A sum along axes is taken on the way: in a
register where only the last axis is summed over, else in the row of the result, to which every
pass over an outer axis adds.

Axes that every value of the work has together are one loop. Where the last axis is no more than a
few vectors long, these are written one by one, and what is the same for all indices of the loop
around it stays in registers. Else the code does not grow with the sizes.

Letters: n units of a row, W lanes of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from gatework.backends.cpu.kernel.row import Row
from gatework.backends.cpu.vector.masks import across, lane_mask, masked_load, masked_store
from gatework.backends.cpu.vector.values import Index, Value, Vector
from gatework.compiler.nests import axes_of
from gatework.compiler.passes import Fold, Place, Work
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Apply, Expr

if TYPE_CHECKING:
    from gatework.backends.cpu.kernel.stage import StageWriter

STRIP = 4  # indices of the innermost loop but one that are computed together

Indices = Sequence[Index]  # of each axis of a nest but the last


def terms(fold: Fold) -> tuple[Expr, ...]:
    """What is added up at each index; of a sum both terms, which are not added to each other."""
    (row,) = fold.reduce.args
    added = fold.adds and isinstance(row, Apply) and row.function == "add"
    return row.args if added else (row,)


class Nest(Row):
    """The evaluation of a work's values on one row, axis by axis.

    The innermost loop but one goes in strips of a few indices, which share what does not differ
    along it: a sum over it is fetched and stored once for all of them.
    """

    def __init__(self, stage: StageWriter, work: Work, row: Value, position: Index) -> None:
        super().__init__(stage, work, row, sums=row, position=position)  # there are no sums
        self.axes = axes_of(work, stage.setting.sizes)
        self.inner = len(self.axes.lengths) - 1
        self.partial = self.axes.lengths[-1] % stage.vector.lanes != 0
        self.registers = {
            f: [self.b.slot(stage.vector.type) for _ in range(STRIP)]
            for f in work.folds
            if not self.has_last(f.reduce)
        }
        vectors = -(-self.axes.lengths[-1] // stage.vector.lanes)
        self.rows: list[dict[Expr, Value]] = []  # of each vector, what is held of it
        self.held = self.inner > 0 and vectors <= stage.setting.target.tile_vectors
        self.totals = {
            f: [self.b.slot(stage.vector.type) for _ in range(vectors)]
            for f in (work.folds if self.held else ())
            if self.has_last(f.reduce) and not self.has_strip(f.reduce)
        }
        self.together, self.apart = (
            {f: r for f, r in self.registers.items() if self.has_strip(f.reduce) is apart}
            for apart in (False, True)
        )

    def has_last(self, value: Expr) -> bool:
        """Whether a value differs along the innermost loop."""
        return self.axes.has(value.size, self.inner)

    def has_strip(self, value: Expr) -> bool:
        """Whether a value differs along the loop around it, which goes in strips."""
        return self.inner > 0 and self.axes.has(value.size, self.inner - 1)

    def run(self) -> None:
        """Every value of the row."""
        for fold in self.work.folds:
            self.begin(fold)
        with ExitStack() as loops:
            lengths = self.axes.lengths
            outer = [loops.enter_context(self.b.loop(length)) for length in lengths[:-2]]
            if self.inner:
                self.strips(outer, lengths[-2])
            else:
                self.strip([outer])
        for fold in self.work.folds:
            self.copy(fold)

    def strips(self, outer: Indices, length: int) -> None:
        """The loop around the innermost one: whole strips, then what is left one by one."""
        whole = length - length % STRIP
        self.clear(self.together, STRIP)
        first = self.addresses([*outer, 0])
        self.hold(first)
        if whole:
            with self.b.loop(whole, step=STRIP) as at:
                self.strip([[*outer, self.b.add(at, k)] for k in range(STRIP)])
        if whole < length:
            with self.b.loop(length, start=whole) as at:
                self.strip([[*outer, at]])
        for fold, registers in self.together.items():
            self.fold_together(fold, registers, first)
        self.fold_held(first)

    def strip(self, indices: Sequence[Indices]) -> None:
        """The values of some neighbouring indices, a vector of the last axis at a time."""
        bases = [self.addresses(outer) for outer in indices]
        repeated = [self.repeated(addresses) for addresses in bases]
        apart = self.apart if self.inner else self.registers
        self.clear(apart, len(indices))
        for k in self.along():
            found: dict[Fold, list[list[Value]]] = {fold: [] for fold in self.work.folds}
            shared = self.rows[k] if self.held else {}
            for self.bases, numbers in zip(bases, repeated, strict=True):
                self.values = {**self.fixed, **numbers, **shared}
                for fold, values in found.items():
                    values.append([self.value(term) for term in terms(fold)])
                self.store()
                read = (n for n in self.known if n in self.values and not self.has_strip(n))
                shared = {n: self.values[n] for n in read}
            for fold, values in found.items():
                if fold in self.totals:
                    self.fold_into(self.totals[fold][k], fold, chain(*values))
                else:
                    self.fold(fold, values, bases)
        for fold, registers in apart.items():
            self.fold_apart(fold, registers[: len(indices)], bases)

    def along(self) -> Iterator[int]:
        """Write what follows for each vector of the last axis: in a loop, or one after the other.

        Gives the number of the vector where they are written one after the other.
        """
        b, v, length = self.b, self.stage.vector, self.axes.lengths[-1]
        if self.held:
            for k, at in enumerate(range(0, length, v.lanes)):
                whole = at + v.lanes <= length
                self.unit, self.mask = at, None if whole else lane_mask(b, v, length - at)
                yield k
            return
        with b.loop(length, step=v.lanes) as self.unit:
            self.mask = lane_mask(b, v, b.sub(length, self.unit)) if self.partial else None
            yield 0

    # ---- rows in registers ---------------------------------------------------------------------

    def hold(self, bases: dict[Place, Value]) -> None:
        """Load the rows that are the same for all indices of the loop around the innermost one."""
        if not self.held:
            return
        held = [n for n in self.known if self.has_last(n) and not self.has_strip(n)]
        self.bases, self.rows = bases, []
        for _ in self.along():
            self.rows.append({n: self.read(self.known[n]) for n in held})
        for fold, totals in self.totals.items():
            self.clear({fold: totals}, len(totals))

    def fold_into(self, register: Value, fold: Fold, values: Iterable[Value]) -> None:
        """Add vectors to one register."""
        total = self.loaded(register)
        for value in values:
            total = self.joined(fold, total, value)
        self.b.store(total, register, 64)

    def fold_held(self, bases: Mapping[Place, Value]) -> None:
        """Add the sums that were taken in registers to the rows of their results."""
        if not self.held:
            return
        for k in self.along():
            for fold, totals in self.totals.items():
                address = self.stage.element(bases[fold.places[0]], self.unit)
                self.put(self.joined(fold, self.get(address), self.loaded(totals[k])), address)

    def clear(self, registers: Mapping[Fold, Sequence[Value]], count: int) -> None:
        """Fill the first registers of each sum with what changes nothing."""
        for fold, own in registers.items():
            for register in own[:count]:
                self.b.store(self.neutral(fold), register, 64)

    def addresses(self, outer: Indices) -> dict[Place, Value]:
        """Where each place has the units of some indices of the outer axes."""
        return {p: self.offset(p, outer) for p in self.starts if p.size != SCALAR}

    def offset(self, place: Place, outer: Indices) -> Value:
        """Where the units of a place lie for some indices of the outer axes."""
        at: Index = 0
        for index, pitch in zip(outer, self.axes.pitches(place.size), strict=False):
            at = self.b.add(at, self.b.mul(index, pitch))
        return self.stage.element(self.starts[place], at)

    def repeated(self, addresses: Mapping[Place, Value]) -> dict[Expr, Value]:
        """What is the same along the last axis, in every lane."""
        b, v = self.b, self.stage.vector
        return {
            n: b.broadcast(b.load(addresses[p], v.element, v.size), v)
            for n, p in self.known.items()
            if n.size != SCALAR and not self.has_last(n)
        }

    def store(self) -> None:
        """Evaluate the stored values of one index, then store them: a state may lie in place."""
        results = [(self.value(node), places) for node, places in self.work.stores]
        for value, places in results:
            for place in places:
                self.put(value, self.stage.element(self.bases[place], self.unit))

    def read(self, place: Place) -> Value:
        """A vector of a value that differs in the last axis."""
        return self.get(self.stage.element(self.bases[place], self.unit))

    # ---- sums along axes -----------------------------------------------------------------------

    def neutral(self, fold: Fold) -> Value:
        """What changes nothing, in every lane."""
        return self.stage.vector.const(0.0 if fold.adds else float("-inf"))

    def joined(self, fold: Fold, one: Value, other: Value) -> Value:
        """The sum of two, or the larger, of numbers or of vectors."""
        return self.b.fadd(one, other) if fold.adds else self.b.fmaximum(one, other)

    def begin(self, fold: Fold) -> None:
        """Fill the row of the result with what changes nothing."""
        for at, mask in self.vectors(fold):
            masked_store(
                self.b, self.stage.vector, self.neutral(fold), self.unit_of(fold, 0, at), mask
            )

    def copy(self, fold: Fold) -> None:
        """The row of the result into its other places."""
        for k in range(1, len(fold.places)):
            for at, mask in self.vectors(fold):
                value = masked_load(self.b, self.stage.vector, self.unit_of(fold, 0, at), mask)
                masked_store(self.b, self.stage.vector, value, self.unit_of(fold, k, at), mask)

    def vectors(self, fold: Fold) -> Iterator[tuple[Value, Value]]:
        """Write what follows for each vector of the result's row: its first unit, and a mask."""
        units, v = self.stage.setting.sizes[fold.reduce.size], self.stage.vector
        with self.b.loop(units, step=v.lanes) as at:
            yield at, lane_mask(self.b, v, self.b.sub(units, at))

    def unit_of(self, fold: Fold, place: int, unit: Value) -> Value:
        """The address of a unit in a place of the result."""
        return self.stage.element(self.starts[fold.places[place]], unit)

    def fold(
        self, fold: Fold, values: Sequence[list[Value]], bases: Sequence[Mapping[Place, Value]]
    ) -> None:
        """Add the vectors of each index: to registers of lanes, or to the row of the result."""
        if fold in self.registers:
            for register, own in zip(self.registers[fold], values, strict=False):
                self.fold_into(register, fold, (self.within(fold, v) for v in own))
            return
        groups = values if self.has_strip(fold.reduce) else [[*chain(*values)]]
        for group, addresses in zip(groups, bases, strict=False):
            address = self.stage.element(addresses[fold.places[0]], self.unit)
            total, *more = group
            for value in more:
                total = self.joined(fold, total, value)
            self.put(self.joined(fold, self.get(address), total), address)

    def within(self, fold: Fold, value: Value) -> Value:
        """A vector with what changes nothing in the lanes beyond the row's end."""
        return self.b.select(self.mask, value, self.neutral(fold)) if self.mask else value

    def fold_apart(
        self, fold: Fold, registers: Sequence[Value], bases: Sequence[Mapping[Place, Value]]
    ) -> None:
        """Add the lanes of each index to the unit of the result that it has."""
        if len(registers) == STRIP <= self.stage.vector.lanes and self.pitch(fold) == 1:
            self.fold_neighbours(fold, registers, bases[0])
            return
        for register, addresses in zip(registers, bases, strict=True):
            self.add_number(fold, self.loaded(register), addresses)

    def fold_together(
        self, fold: Fold, registers: Sequence[Value], addresses: Mapping[Place, Value]
    ) -> None:
        """Add the lanes of all registers to one unit of the result."""
        total, *more = (self.loaded(register) for register in registers)
        for value in more:
            total = self.joined(fold, total, value)
        self.add_number(fold, total, addresses)

    def fold_neighbours(
        self, fold: Fold, registers: Sequence[Value], addresses: Mapping[Place, Value]
    ) -> None:
        """Add the lanes of a strip's registers to as many units side by side, all at once.

        Halves of two vectors are added into one, until one vector has the lanes of all in groups.
        """
        b, v, place = self.b, self.stage.vector, fold.places[0]
        vectors, group = [self.loaded(register) for register in registers], v.lanes
        while len(vectors) > 1:
            group //= 2
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.halved(fold, one, other, group) for one, other in pairs]
        (sums,) = vectors
        while group > 1:
            group //= 2
            other = b.shuffle(sums, sums, [lane ^ group for lane in range(v.lanes)])
            sums = self.joined(fold, sums, other)
        narrow = Vector(v.element, STRIP)
        new = b.shuffle(sums, sums, range(0, v.lanes, v.lanes // STRIP))
        address = addresses.get(place, self.starts[place])
        old = b.load(address, narrow.type, v.size)
        b.store(self.joined(fold, old, new), address, v.size)

    def halved(self, fold: Fold, one: Value, other: Value, group: int) -> Value:
        """The sums of the two halves of every 2 · group lanes, those of both vectors in turn."""
        lanes = range(2 * self.stage.vector.lanes)
        low, high = ([k for k in lanes if k // group % 2 == half] for half in (0, 1))
        return self.joined(fold, self.b.shuffle(one, other, low), self.b.shuffle(one, other, high))

    def pitch(self, fold: Fold) -> int:
        """How far apart the units of a result lie for neighbouring indices of a strip."""
        return self.axes.pitches(fold.reduce.size)[self.inner - 1] if self.inner else 0

    def loaded(self, register: Value) -> Value:
        """What a register holds."""
        return self.b.load(register, self.stage.vector.type, 64)

    def add_number(self, fold: Fold, lanes: Value, addresses: Mapping[Place, Value]) -> None:
        """Add the lanes of a vector to a unit of the result."""
        b, v, place = self.b, self.stage.vector, fold.places[0]
        number = across(b, v, lanes, "fadd" if fold.adds else "fmaximum")
        address = addresses.get(place, self.starts[place])
        old = b.load(address, v.element, v.size)
        b.store(self.joined(fold, old, number), address, v.size)
