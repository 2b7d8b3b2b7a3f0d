"""Gradients of parameters from whole sequences, after the loop.

    contraction   dW[units, features] = Σ over rows of left[row, units] ⊗ right[row, features]
    summation     db[units] = Σ over rows of a sequence

Both run over the rows in chunks: a chunk of `right` is packed into panels that stay in the second-
level cache, `left` is read as it lies, and the tile adds their product to dW, whose rows are the
tile's rows. Each thread owns some units, so nobody waits for anybody.

Rows of `left` that lie whole pages apart would push each other out of the nearest cache, which
finds lines by their place in a page: these are packed, too.

Letters: W lanes of a vector, V vectors of a tile; the rows of a chunk are its terms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gatework.backends.cpu.kernel.layout import Layout
from gatework.backends.cpu.kernel.setting import FEATURES, PAGE, TERMS, Setting
from gatework.backends.cpu.kernel.team import Team
from gatework.backends.cpu.vector.blocks import Blocks
from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.routines import call_routine
from gatework.backends.cpu.vector.values import Index, Value
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import Contraction, Summation
from gatework.lang.definition import block_of
from gatework.lang.expressions import Matrix


def contraction_scratch(setting: Setting) -> int:
    """Elements of scratch memory: panels of right, a panel of left, one block of results."""
    width = setting.target.tile_vectors * setting.vector.lanes
    return TERMS * (FEATURES + width) + TERMS * width + width * width


def wanted_contractions(plan: Plan, skip: frozenset[str]) -> tuple[Contraction, ...]:
    """The gradients of matrices that are wanted."""
    return tuple(c for c in plan.recurrence.contractions if block_of(c.matrix)[0] not in skip)


def wanted_summations(plan: Plan, skip: frozenset[str]) -> tuple[Summation, ...]:
    """The gradients of learned vectors that are wanted."""
    return tuple(s for s in plan.recurrence.summations if block_of(s.parameter)[0] not in skip)


def write_contractions(
    b: Builder, layout: Layout, args: Value, team: Team, scratch: Value, plan: Plan,
    skip: frozenset[str],
) -> None:  # fmt: skip
    """The gradients of all matrices, those with a common right-hand sequence together.

    A matrix that is used twice has two contractions: the second adds to the first, and the same
    thread does the same units in both.
    """
    together: dict[tuple[str, str | None], list[Contraction]] = {}
    for c in wanted_contractions(plan, skip):
        together.setdefault((c.right, c.matrix.per), []).append(c)
    writer = _Contractions(b, layout, args, team, scratch)
    for group in together.values():
        heads = group[0].matrix.heads(layout.setting.sizes)
        if heads == 1:
            writer.write(group, 0)
            continue
        with b.loop(heads) as head:
            writer.write(group, head)


@dataclass(frozen=True)
class _Chunk:
    """A part of `left`, [terms, units].

    Attributes:
        start: Its first unit in row 0.
        ld: The distance of two rows.
        rows: Which rows are its terms.
        units: How many units; V·W at most, the height of the tile's results.
        terms: How many rows.
    """

    start: Value
    ld: Value
    rows: Value
    units: Value
    terms: Value


class _Contractions:
    """Writes dW[units, features] (+)= left[rows, units]ᵀ · right[rows, features].

    A thread has scratch memory of its own: panels of a chunk of `right`, [block][terms][V·W]; a
    panel of `left`, [terms][V·W]; a block of results, [V·W][V·W].
    """

    def __init__(self, b: Builder, layout: Layout, args: Value, team: Team, scratch: Value) -> None:
        self.b, self.layout, self.args, self.team = b, layout, args, team
        self.begun: set[Matrix] = set()  # matrices that hold a first contraction already
        setting = layout.setting
        self.element, self.vector, self.sizes = setting.element, setting.vector, setting.sizes
        self.head: Index = 0  # whose gradient is computed, where there are several
        self.widest = setting.target.tile_vectors
        self.width = self.widest * self.vector.lanes
        self.right_panels = scratch
        self.left_panel = b.at(scratch, self.element, TERMS * (FEATURES + self.width))
        self.result = b.at(self.left_panel, self.element, TERMS * self.width)

    def pointer(self, name: str) -> Value:
        """An argument as an address."""
        return self.layout.arguments.pointer(self.b, self.args, name)

    def write(self, group: list[Contraction], head: Index) -> None:
        """The contractions with one right side: TERMS rows and FEATURES columns of it at a time.

        The first chunk of rows is stored to a gradient, the others are added. Of matrices per head
        it is one head's columns of both sides, and its rows of the gradient.
        """
        first, self.head = group[0], head
        b, columns = self.b, self.sizes[first.matrix.width]
        total = self.layout.arguments.number(b, self.args, "row count")
        all_rows = self.pointer("all rows")
        source = b.at(self.pointer(f"sequence {first.right}"), self.element, b.mul(head, columns))
        ld = b.index(self.sizes[first.matrix.cols])
        with b.loop(columns, step=FEATURES) as f, b.loop(total, step=TERMS) as k:
            terms = b.index(b.smaller(b.sub(total, k), TERMS))
            rows = b.at(all_rows, "i64", k)
            features = b.index(b.smaller(b.sub(columns, f), FEATURES))
            with b.loop(features, step=self.width) as at:
                panel = b.at(self.right_panels, self.element, b.mul(at, terms))
                start = b.at(b.at(source, self.element, f), self.element, at)
                left_over = b.index(b.sub(features, at))
                call_routine(b, "gather", panel, start, ld, rows, terms, left_over)
            for c in group:
                add = Value("true", "i1") if c.matrix in self.begun else b.compare("ne", k, 0)
                self.begun.add(c.matrix)
                self.one(c, rows, terms, f, features, add)

    def one(
        self, c: Contraction, rows: Value, terms: Value, f: Value, features: Value, add: Value
    ) -> None:
        """A chunk's part of dW[units of this thread, features], V·W units at a time.

        `f` is the chunk's first column of dW, `features` how many it has.
        """
        b, pitch = self.b, self.sizes[c.matrix.rows]
        units, columns = self.sizes[c.matrix.height], self.sizes[c.matrix.width]
        name, block = block_of(c.matrix)
        before = b.mul(self.head, units)  # units of other heads
        row = b.add(self.layout.offsets[name, block], before)
        gradient = b.at(self.pointer(f"gradient {name}"), self.element, b.mul(row, columns))
        left = b.at(self.pointer(f"sequence {c.left}"), self.element, before)
        first, last = self.team.share(units)
        with b.loop(last, start=first, step=self.width) as unit:
            here = b.index(b.smaller(b.sub(last, unit), self.width))
            chunk = _Chunk(b.at(left, self.element, unit), b.index(pitch), rows, here, terms)
            if pitch * self.vector.size % PAGE == 0:
                chunk = self.packed(chunk)
            to = b.at(gradient, self.element, b.add(b.mul(unit, columns), f))
            self.products(to, columns, chunk, features, add)

    def packed(self, chunk: _Chunk) -> _Chunk:
        """The same terms and units, packed: rows V·W apart, or less where there are fewer units."""
        b, lanes = self.b, self.vector.lanes
        left = (chunk.start, chunk.ld, chunk.rows, chunk.terms, chunk.units)
        call_routine(b, "gather", self.left_panel, *left)
        vectors = b.div(b.add(chunk.units, lanes - 1), lanes)
        pitch = b.index(b.mul(vectors, lanes))
        return replace(chunk, start=self.left_panel, ld=pitch, rows=self.pointer("numbers"))

    def products(self, to: Value, columns: int, chunk: _Chunk, features: Value, add: Value) -> None:
        """dW[units, features] (+)= chunk[terms, units]ᵀ · panels, V·W features at a time.

        `to` is the first of these elements of dW, whose rows are `columns` apart. A block that
        ends inside a vector goes through the block of results: a tile would write beyond its end.
        """
        b, lanes = self.b, self.vector.lanes
        blocks = Blocks(columns, self.vector, self.widest)
        widths = sorted({blocks.width // lanes, blocks.last})
        with b.loop(features, step=self.width) as at:
            panel = b.at(self.right_panels, self.element, b.mul(at, chunk.terms))
            here = b.index(b.smaller(b.sub(features, at), self.width))
            target = b.at(to, self.element, at)
            vectors = b.index(b.div(b.add(here, lanes - 1), lanes))
            whole = b.compare("eq", b.mul(vectors, lanes), here)
            with b.when(whole):
                self.contract(widths, vectors, target, b.index(columns), chunk, panel, add)
            with b.when(b.op(f"xor i1 {whole.text}, true", "i1")):
                none = Value("false", "i1")
                room = b.index(b.mul(vectors, lanes))
                self.contract(widths, vectors, self.result, room, chunk, panel, none)
                call_routine(
                    b, "put", target, b.index(columns), self.result, room, chunk.units, here, add
                )

    def contract(
        self, widths: list[int], vectors: Value, to: Value, ld: Value, chunk: _Chunk,
        panel: Value, add: Value,
    ) -> None:  # fmt: skip
        """C[units, V·W] (+)= chunk[terms, units]ᵀ · panel[terms, V·W], V one of `widths`.

        C is at `to`, its rows `ld` apart.
        """
        left = (chunk.start, chunk.ld, chunk.rows, chunk.units)
        for width in self.b.cases(vectors, widths):
            call_routine(self.b, f"contract_{width}", to, ld, *left, panel, chunk.terms, add)


def write_summations(
    b: Builder, layout: Layout, args: Value, team: Team, plan: Plan, skip: frozenset[str]
) -> None:
    """The gradients of learned vectors: every sequence is summed once, for all that want it."""
    wanted: dict[str, list[tuple[str, str]]] = {}
    sizes: dict[str, str] = {}
    for s in wanted_summations(plan, skip):
        wanted.setdefault(s.sequence, []).append(block_of(s.parameter))
        sizes[s.sequence] = s.parameter.size
    count = layout.arguments.number(b, args, "row count")
    rows = layout.arguments.pointer(b, args, "all rows")
    for sequence, targets in wanted.items():
        units = layout.setting.sizes[sizes[sequence]]
        source = layout.arguments.pointer(b, args, f"sequence {sequence}")
        places = [
            b.at(
                layout.arguments.pointer(b, args, f"gradient {name}"),
                layout.setting.element, layout.offsets[name, block],
            )
            for name, block in targets
        ]  # fmt: skip
        _sum(b, layout.setting, team, source, places, units, count, rows)


def _sum(
    b: Builder, setting: Setting, team: Team, source: Value, places: list[Value], units: int,
    count: Value, rows: Value,
) -> None:  # fmt: skip
    """db[units] = Σ over `count` rows of source[rows, units], into each of its places.

    Threads take 64 units each in turn: whole cache lines.
    """
    width = 64
    own = b.mul(team.member, width)
    with b.loop(units, start=own, step=b.mul(team.size, width)) as at:
        here = b.index(b.smaller(b.sub(units, at), width))
        first, *others = [b.at(p, setting.element, at) for p in places]
        start = b.at(source, setting.element, at)
        call_routine(b, "sum_rows", first, start, b.index(units), rows, count, here)
        for other in others:
            call_routine(b, "put", other, here, first, here, b.index(1), here, Value("false", "i1"))
