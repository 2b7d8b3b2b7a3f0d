"""One stage of a pass as a function: products into scratch memory, then unit by unit.

For each block of rows and each block of units the stage sums its products with the register
tile, [sum][row][units of the block], and then evaluates every stored value for one vector of
units at a time, straight from those sums.

Letters: n units of a row, K the length of a product's sums, W lanes of a vector, V vectors of a
block of units, B sequences, t the step, k how many ran before it.
"""

from __future__ import annotations

from gatework.backends.cpu.kernel.arranging import Rearranging
from gatework.backends.cpu.kernel.layout import Layout, Panels
from gatework.backends.cpu.kernel.nest import Nest
from gatework.backends.cpu.kernel.row import Row
from gatework.backends.cpu.kernel.setting import ROW_BLOCK
from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.masks import across, lane_mask, masked_load
from gatework.backends.cpu.vector.routines import Operands, call_routine
from gatework.backends.cpu.vector.values import Index, Value
from gatework.compiler.arranging import table_of
from gatework.compiler.passes import Lowered, Place, Sum, Work
from gatework.compiler.recurrence import STRETCH, Replay
from gatework.compiler.stepping import Storage
from gatework.lang.axes import SCALAR, has_axes, of_each
from gatework.lang.expressions import Arrange, Product, Reduce

PARAMETERS = [("ptr", "args"), ("ptr", "rows"), ("i64", "count"), ("i64", "t"), ("i64", "k"),
              ("i64", "member"), ("i64", "members"), ("ptr", "scratch")]  # fmt: skip

Left = tuple[Value, Value, Value, Value, Value]  # C, A, its leading dimension, its rows, how many


def write_stage(name: str, module: Module, layout: Layout, stage: Lowered) -> None:
    """Write the function that computes one stage."""
    with module.function(name, PARAMETERS) as (b, (args, rows, count, t, k, *rest)):
        writer = StageWriter(b, layout, stage, args, t, k, rest[-1])
        with b.loop(count, step=ROW_BLOCK) as at:
            here = b.index(b.smaller(b.sub(count, at), ROW_BLOCK))
            listed = b.at(rows, "i64", at)
            writer.reductions(listed, here)
            writer.arrangements(listed, here)
            for work in stage.works:
                if has_axes(work.size) and not work.sums:
                    writer.nest(work, listed, here, at)
                else:
                    writer.work(work, listed, here, *rest)


class StageWriter:
    """Writes one stage: what it reads and writes has an address, a base for row 0 each."""

    def __init__(
        self,
        b: Builder,
        layout: Layout,
        stage: Lowered,
        args: Value,
        t: Value,
        k: Value,
        scratch: Value,
    ) -> None:
        self.b, self.layout, self.stage = b, layout, stage
        self.setting, self.vector = layout.setting, layout.setting.vector
        self.args, self.t, self.k, self.scratch = args, t, k, scratch
        self.head: Index = 0  # whose rows are read and written, where that is done one by one
        self.replays = {f"state {r.state.name}": r for r in layout.replays}
        self.batch = layout.arguments.number(b, args, "batch")
        self.bases: dict[Place, Value] = {p: self.base(p) for p in dict.fromkeys(self.places())}

    def places(self) -> list[Place]:
        """Every place that the stage reads or writes."""
        stage = self.stage
        read = [p for w in stage.works for p in w.reads.values()]
        stored = [p for w in stage.works for p in w.places()]
        return [*stage.whole_rows(), *read, *(p for _, p in stage.rows()), *stored]

    # ---- addresses -----------------------------------------------------------------------------

    def element(self, base: Value, offset: Index) -> Value:
        """The address of an element."""
        return self.b.at(base, self.vector.element, offset)

    def units(self, place: Place) -> int:
        """n of a place."""
        return self.setting.sizes[place.size]

    def base(self, place: Place) -> Value:
        """The address of row 0 of a place at this step; of a replayed state, the part's first."""
        if place.argument in self.replays:
            return self.replayed(self.replays[place.argument], new=place.kind == "new")
        b, pointer = self.b, self.layout.arguments.pointer(self.b, self.args, place.argument)
        if place.kind == "all":
            first = self.layout.offsets[place.offset] if place.offset else 0
            return self.element(pointer, first)
        skipped = b.mul(self.skipped(place), self.batch)
        return self.element(pointer, b.mul(skipped, self.units(place)))

    def skipped(self, place: Place) -> Index:
        """How many times B rows lie before those of this step."""
        match place.kind:
            case "step":
                return self.t
            case "row" | "sequence" | "all":
                return 0
            case "old" | "new":
                state = place.argument.removeprefix("state ")
                return self._slot(self.layout.states[state], new=place.kind == "new")

    def _slot(self, storage: Storage, new: bool) -> Index:
        """Which slot of a state is meant: "single" has one, "double" takes turns between two,
        "trajectory" has one for each step and one more."""
        b = self.b
        match storage:
            case "single":
                return 0
            case "double":
                return b.binary("and", b.index(b.add(self.k, int(new))), b.index(1))
            case "trajectory":
                backwards = self.layout.arguments.number(b, self.args, "reverse")
                return b.add(self.t, b.sub(1, backwards) if new else backwards)

    def replayed(self, replay: Replay, new: bool) -> Value:
        """Where a replayed state lies before or after this step, in this thread's memory."""
        b, start = self.b, self.layout.slots_start(replay.state.name)
        last = b.sub(self.layout.arguments.number(b, self.args, "steps"), 1)
        step = b.binary("and", b.index(b.sub(last, self.k)), b.index(STRETCH - 1))
        at = b.mul(b.add(step, int(new)), self.layout.slot(replay))
        return self.element(self.element(self.scratch, start), at)

    def row(self, place: Place, row: Value, position: Index = 0) -> Value:
        """The address of a row of a place; its position is that among the rows of its part."""
        if place.kind == "all":
            return self.bases[place]
        if place.argument in self.replays:
            row = self.b.index(position)
        if place.kind == "sequence":  # row t·B + b of all: b
            row = self.b.op(f"urem i64 {row.text}, {self.batch.text}", "i64")
        return self.element(self.bases[place], self.b.mul(row, self.units(place)))

    # ---- reductions ----------------------------------------------------------------------------

    def reductions(self, rows: Value, count: Value) -> None:
        """Every row reduction of the stage."""
        if not self.stage.reductions:
            return
        with self.b.loop(count) as i:
            row = self.b.load(self.b.at(rows, "i64", i), "i64", 8)
            for reduce, place in self.stage.reductions:
                self.b.store(self.reduced(reduce, row), self.row(place, row), self.vector.size)

    def reduced(self, reduce: Reduce, row: Value) -> Value:
        """The sum or maximum of a row."""
        b, v = self.b, self.vector
        source = self.stage.known[reduce.args[0]]
        units, start = self.units(source), self.row(source, row)
        adding = reduce.function == "sum"
        neutral = v.const(0.0 if adding else float("-inf"))
        total = b.slot(v.type)
        b.store(neutral, total, 64)
        with b.loop(units, step=v.lanes) as at:
            mask = lane_mask(b, v, b.sub(units, at))
            value = b.select(mask, masked_load(b, v, self.element(start, at), mask), neutral)
            old = b.load(total, v.type, 64)
            more = b.fadd(old, value) if adding else b.fmaximum(old, value)
            b.store(more, total, 64)
        return across(b, v, b.load(total, v.type, 64), "fadd" if adding else "fmaximum")

    # ---- arrangements --------------------------------------------------------------------------

    def arrangements(self, rows: Value, count: Value) -> None:
        """Every row of the stage whose units are arranged in another way."""
        if not self.stage.arrangements:
            return
        with self.b.loop(count) as i:
            row = self.b.load(self.b.at(rows, "i64", i), "i64", 8)
            for node, place in self.stage.arrangements:
                sources = [self.row(self.stage.known[a], row, i) for a in node.args]
                target, table = self.row(place, row), self.table(node)
                sizes = self.setting.sizes
                Rearranging(self.b, self.vector, node, sizes, sources, target, table).write()

    def table(self, node: Arrange) -> Value | None:
        """The address of the indices by which units are picked, if they are."""
        table = table_of(node, self.setting.sizes)
        if table is None:
            return None
        return self.layout.arguments.pointer(self.b, self.args, self.layout.tables()[table])

    # ---- products ------------------------------------------------------------------------------

    def work(
        self, work: Work, rows: Value, count: Value, member: Value, members: Value, scratch: Value
    ) -> None:
        """The sums and stored values of one size; of a work per head, head after head."""
        if work.per is None:
            self.blocks_of(work, rows, count, member, members, scratch)
            return
        whole = self.bases
        with self.b.loop(self.setting.sizes[work.per]) as self.head:
            self.bases = {**whole, **self.bases_of_head(work, work.per)}
            self.blocks_of(work, rows, count, member, members, scratch)
        self.bases, self.head = whole, 0

    def bases_of_head(self, work: Work, per: str) -> dict[Place, Value]:
        """The addresses at which a head's units begin in the first rows of a work's places."""
        read = (self.stage.known[a] for p in work.products() for a in p.args)
        units = {p: self.setting.sizes[of_each(p.size, per)] for p in (*read, *work.places())}
        return {p: self.element(self.bases[p], self.b.mul(self.head, n)) for p, n in units.items()}

    def blocks_of(
        self, work: Work, rows: Value, count: Value, member: Value, members: Value, scratch: Value
    ) -> None:
        """This member's share of the blocks of units.

        Scratch memory holds the sums of a block, [sum][row][V·W].
        """
        b, blocks = self.b, self.setting.blocks(work.size)
        # single numbers are computed by every member: nobody has to wait for them
        first, last = (b.index(0), b.index(blocks.count))
        if work.size != SCALAR:
            first, last = (
                b.index(b.div(b.mul(b.add(member, more), blocks.count), members)) for more in (0, 1)
            )
        with b.loop(last, start=first) as s:
            for number, total in enumerate(work.sums):
                to = self.element(scratch, number * ROW_BLOCK * blocks.width)
                self.sum(total, s, work.size, to, rows, count, scratch)
            self.unit_by_unit(work, s, rows, count, scratch)

    def sum(
        self, total: Sum, s: Value, size: str, to: Value, rows: Value, count: Value, scratch: Value
    ) -> None:
        """C[row, units of block s] = Σ over the products of A[row, K] · W or · Wᵀ.

        C is scratch memory, at `to`; its rows lie side by side. The rows of A are those of the step
        that are listed, or one and the same for all of them.
        """
        for number, product in enumerate(total.products):
            place = self.stage.known[product.args[0]]
            ld = 0 if place.kind == "all" else self.units(place)
            add = Value("true" if number else "false", "i1")
            left = (to, self.bases[place], self.b.index(ld), rows, count)
            k = self.b.index(self.setting.sizes[Panels(product.matrix, product.transposed).inner])
            if self.setting.weights == "direct":
                self.call_direct(product, s, left, k, add)
            else:
                self.call_product(size, s, left, self.panel(product, s, scratch), k, add)

    def panel(self, product: Product, s: Value, scratch: Value) -> Value:
        """Where block s of a packed matrix starts, [K, V·W]; it is packed now if it passes by."""
        panels = Panels(product.matrix, product.transposed)
        if self.setting.weights == "block":
            panel = self.element(scratch, self.layout.sums())
            self.layout.pack(self.b, self.args, panels, s, panel, self.head)
            return panel
        pointer = self.layout.arguments.pointer(self.b, self.args, panels.name)
        return self.element(pointer, self.layout.panel(panels, s, self.head, self.b))

    def call_direct(self, product: Product, s: Value, left: Left, k: Value, add: Value) -> None:
        """Call the routine that reads the matrix as it lies, with C, A and its rows in `left`."""
        panels = Panels(product.matrix, product.transposed)
        b, blocks = self.b, self.setting.blocks(panels.outer)
        columns = self.setting.sizes[product.matrix.width]
        weight = self.layout.weight(b, self.args, product.matrix, self.head)
        unit = b.mul(s, blocks.width)
        units = b.index(b.smaller(b.sub(blocks.columns, unit), blocks.width))
        start = self.element(weight, unit if product.transposed else b.mul(unit, columns))
        name = "spread" if product.transposed else "dot"
        call_routine(b, name, *Operands(*left, start, b.index(columns), units, k, add))

    def call_product(self, size: str, s: Value, left: Left, *right: Value) -> None:
        """Call the routine of the block's width; the last block may be narrower.

        On the left C, A and its rows; on the right the panel [K, V·W], K, and whether to add.
        """
        arguments = (*left, *right)
        blocks = self.setting.blocks(size)
        full = blocks.width // self.vector.lanes
        if blocks.last == full:
            call_routine(self.b, f"product_{full}", *arguments)
            return
        if blocks.count > 1:
            with self.b.when(self.b.compare("slt", s, blocks.count - 1)):
                call_routine(self.b, f"product_{full}", *arguments)
        with self.b.when(self.b.compare("eq", s, blocks.count - 1)):
            # the rows of a narrow block lie closer together in scratch memory, too
            call_routine(self.b, f"product_{blocks.last}", *arguments)

    # ---- axis by axis --------------------------------------------------------------------------

    def nest(self, work: Work, rows: Value, count: Value, before: Value) -> None:
        """Evaluate and store the values of a work with axes, row by row, with so many before."""
        with self.b.loop(count) as i:
            row = self.b.load(self.b.at(rows, "i64", i), "i64", 8)
            Nest(self, work, row, self.b.add(before, i)).run()

    # ---- unit by unit --------------------------------------------------------------------------

    def unit_by_unit(self, work: Work, s: Value, rows: Value, count: Value, scratch: Value) -> None:
        """Evaluate and store the values of block s, row by row, vector by vector.

        The sums of a row are V·W apart in scratch memory, of fewer vectors in the last block.
        """
        b, blocks, lanes = self.b, self.setting.blocks(work.size), self.vector.lanes
        full = blocks.width // lanes
        is_last = b.compare("eq", s, blocks.count - 1)
        vectors = b.index(full)
        if blocks.last != full:
            vectors = b.select(is_last, b.index(blocks.last), b.index(full))
        pitch = b.mul(vectors, lanes)
        with b.loop(count) as i:
            row = b.load(b.at(rows, "i64", i), "i64", 8)
            evaluation = Row(self, work, row, self.element(scratch, b.mul(i, pitch)))
            with b.loop(vectors) as v:
                at = b.mul(v, lanes)
                unit = b.add(b.mul(s, blocks.width), at)
                evaluation.vector_at(unit, at)
