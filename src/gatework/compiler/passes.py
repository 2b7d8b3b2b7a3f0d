"""From a plan to passes over rows: what each stage computes, and where its values lie.

A pass runs stages over a list of rows: over all rows [T·B] before the loop, over the rows [B] of
one step, of this recurrence or of the forward one, over all rows after the loop. Rows of every
value lie one after the other, [rows, n], so that a value can be read by a product, stored for later
and handed to the user without being copied.

Letters: n units of a row, T steps, B sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gatework.compiler.plan import WHOLE, Stage, is_along
from gatework.lang.axes import SCALAR, has_axes, of_each
from gatework.lang.definition import block_of
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Role,
    Symbol,
    postorder,
)
from gatework.lang.functions import FUNCTIONS

ROWS = (Reduce, Arrange)  # which each thread computes whole, and has before the units of its stage
Kind = Literal["step", "row", "all", "old", "new", "sequence"]  # of a place: see `Place`
When = Literal["before", "step", "after", "replay"]
"""Of a pass: before the loop, in it, after it; or in it, to compute states of the forward pass."""


@dataclass(frozen=True)
class Place:
    """Where the rows of a value lie.

    Attributes:
        argument: The name of the pointer among the kernel's arguments.
        size: The name of a row's size.
        kind: How a row is found: "step", row t·B + b; "row", row b; "all", one row for all;
            "old" and "new", row b of a state before and after the step; "sequence", row b of a
            pass over all rows.
        offset: Of "all": the block of a stacked parameter that is meant.
    """

    argument: str
    size: str
    kind: Kind
    offset: tuple[str, str] | None = None


@dataclass(frozen=True)
class Sum:
    """Products that are only ever added to each other: one accumulator."""

    products: tuple[Product, ...]


@dataclass(frozen=True)
class Fold:
    """A sum or maximum along axes of a value, and where the result goes."""

    reduce: Reduce
    places: tuple[Place, ...]

    @property
    def adds(self) -> bool:
        """Whether it is a sum."""
        return self.reduce.function == "sum"


@dataclass(frozen=True)
class Work:
    """What a stage does for the rows of one size: sums of products, then unit by unit.

    Attributes:
        size: The size.
        sums: The sums of products.
        stores: The values that are stored, and where.
        reads: Where the values lie that are read unit by unit.
        folds: Sums along axes of values of this size.
        per: The axis whose indices are done one after the other, each a row of the size: that of
            maps per head.
    """

    size: str
    sums: tuple[Sum, ...]
    stores: tuple[tuple[Expr, tuple[Place, ...]], ...]
    reads: Mapping[Expr, Place]
    folds: tuple[Fold, ...] = ()
    per: str | None = None

    def products(self) -> tuple[Product, ...]:
        """Every product that is summed."""
        return tuple(p for s in self.sums for p in s.products)

    def places(self) -> tuple[Place, ...]:
        """Where values are stored."""
        stored = (places for _, places in self.stores)
        return tuple(p for places in (*stored, *(f.places for f in self.folds)) for p in places)


@dataclass(frozen=True)
class Lowered:
    """One stage.

    Attributes:
        reductions: Row reductions and where each row's number goes.
        arrangements: Rows whose units are arranged in another way, and where they go.
        works: What is done unit by unit, single numbers first.
        known: Where the values lie that the stage reads.
        chains: Additions whose product terms are summed in one accumulator.
    """

    reductions: tuple[tuple[Reduce, Place], ...]
    arrangements: tuple[tuple[Arrange, Place], ...]
    works: tuple[Work, ...]
    known: Mapping[Expr, Place]
    chains: Mapping[Expr, Chain]

    def products(self) -> tuple[Product, ...]:
        """Every product of the stage."""
        return tuple(p for w in self.works for p in w.products())

    def operands(self) -> tuple[Expr, ...]:
        """The values whose rows are read whole, by products, reductions and arrangements."""
        nodes = (*self.products(), *(n for n, _ in self.rows()))
        return tuple(row for n in nodes for row in n.args)

    def rows(self) -> tuple[tuple[Reduce | Arrange, Place], ...]:
        """What every thread computes of whole rows, and where it goes."""
        return (*self.reductions, *self.arrangements)

    def whole_rows(self) -> tuple[Place, ...]:
        """Where these lie."""
        return tuple(self.known[v] for v in self.operands())


@dataclass(frozen=True)
class Chain:
    """An addition of many terms: the products among them, and the others."""

    sum: Sum | None
    others: tuple[Expr, ...]


@dataclass(frozen=True)
class Pass:
    """Stages over rows.

    Attributes:
        stages: The stages in order.
        temporaries: The sizes of the rows that only the kernel sees, by argument.
        numbers: Constant rows that are read whole, by argument.
    """

    stages: tuple[Lowered, ...]
    temporaries: Mapping[str, str]
    numbers: Mapping[str, Const | Count]

    def products(self) -> tuple[Product, ...]:
        """Every product of the pass, once."""
        return tuple(dict.fromkeys(p for stage in self.stages for p in stage.products()))


def leaf_place(leaf: Symbol, all_rows: bool) -> Place:
    """Where the rows of a symbol lie, in a step or in a pass over all rows."""
    if leaf.role == "parameter":
        name, block = block_of(leaf)
        return Place(f"parameter {name}", leaf.size, "all", (name, block))
    kinds: dict[Role, Kind] = {
        "sequence": "step", "state": "old", "constant": "sequence" if all_rows else "row"
    }  # fmt: skip
    return Place(f"{leaf.role} {leaf.name}", leaf.size, kinds[leaf.role])


def lower(
    name: When,
    stages: tuple[Stage, ...],
    targets: Iterable[tuple[Expr, Place]],
    known: Mapping[Symbol, Place] | None = None,
) -> Pass:
    """Decide where every value of a pass lies.

    Args:
        name: When it runs; temporary rows are named after it.
        stages: The stages of the pass.
        targets: Values and where they must be stored.
        known: Where symbols lie that are not where `leaf_place` has them.
    """
    stages = stages or (Stage((), (), (), ()),)
    return _Lowering(name, stages, tuple(targets), known or {}).result()


class _Lowering:
    def __init__(
        self,
        name: When,
        stages: tuple[Stage, ...],
        targets: tuple[tuple[Expr, Place], ...],
        known: Mapping[Symbol, Place],
    ) -> None:
        self.name, self.stages = name, stages
        self.level = {n: k for k, s in enumerate(stages) for n in s.nodes()}
        self.whole = {a for n in self.level for a in n.args if not _reads_along(n, a)}
        self.last_use: dict[Expr, int] = {}  # the last stage that reads a value
        for node, k in reversed(self.level.items()):  # results before their arguments
            last = max(k, self.last_use.get(node, 0)) if self.is_recomputed(node) else k
            for a in node.args:
                self.last_use[a] = max(last, self.last_use.get(a, 0))
        self.temporaries: dict[str, str] = {}
        self.places: dict[Expr, list[Place]] = {}
        self.results = [value for value, _ in targets]
        for value, place in targets:
            self.places.setdefault(value, []).append(place)
        self.known: dict[Expr, Place] = {
            n: known.get(n) or leaf_place(n, all_rows=name in ("before", "after"))
            for n in self.nodes()
            if isinstance(n, Symbol)
        }

    def nodes(self) -> tuple[Expr, ...]:
        """Every value of the pass."""
        return tuple(postorder((*self.results, *self.level)))

    def result(self) -> Pass:
        """Stage by stage: store what later stages read, then write down what the stage does."""
        for node in self.nodes():
            if self.must_be_stored(node):
                self.store(node)
        numbers = self.constant_rows()
        lowered = tuple(self.stage(k) for k in range(len(self.stages)))
        return Pass(lowered, self.temporaries, numbers)

    def constant_rows(self) -> dict[str, Const | Count]:
        """Memory for the constants that are read as whole rows: a pinned gate may be one."""
        complete = (n for n in self.level if isinstance(n, WHOLE) and not is_along(n))
        whole = dict.fromkeys(a for n in complete for a in n.args)
        constants = [row for row in whole if isinstance(row, Const | Count)]
        for row in constants:
            number = f"count of {row.of}" if isinstance(row, Count) else row.value
            self.known[row] = Place(f"number {number} {row.size}", row.size, "all")
        return {self.known[row].argument: row for row in constants}

    def must_be_stored(self, node: Expr) -> bool:
        """Whether a value outlives the registers of its stage."""
        if node not in self.level or self.is_recomputed(node):
            return False
        later = self.last_use.get(node, 0) > self.level[node]
        return later or isinstance(node, ROWS) or node.size == SCALAR

    def is_recomputed(self, node: Expr) -> bool:
        """Whether a value is computed again in each stage that reads it.

        A row with axes is long: arithmetic on what it is made of costs less than its memory.
        """
        cheap = isinstance(node, Apply) and FUNCTIONS[node.function].cheap
        return cheap and has_axes(node.size) and node not in self.whole

    def store(self, node: Expr) -> None:
        """Give a value rows in memory, those of a written sequence if there is one."""
        for place in self.places.get(node, ()):
            if place.kind == "step":
                self.known[node] = place
                return
        argument = f"{self.name} {len(self.temporaries)}"
        self.temporaries[argument] = node.size
        self.known[node] = Place(argument, node.size, "row")
        self.places.setdefault(node, []).append(self.known[node])

    def targets(self, node: Expr) -> tuple[Place, ...]:
        """Where a value's units are stored; a whole row is in its own place by then."""
        own = self.known[node] if isinstance(node, ROWS) and not is_along(node) else None
        return tuple(p for p in self.places[node] if p != own)

    def stage(self, k: int) -> Lowered:
        """What one stage does, with the values that earlier stages left in memory."""
        stage = self.stages[k]
        known = {
            n: p for n, p in self.known.items()
            if self.level.get(n, -1) < k or n in stage.rows() or n.size == SCALAR
        }  # fmt: skip
        stored = [n for n in self.places if self.level.get(n, 0) == k]
        values = [n for n in stored if n not in stage.along and self.targets(n)]
        chains = _chains(stage, values)
        return Lowered(
            reductions=tuple((r, self.known[r]) for r in stage.reductions),
            arrangements=tuple((a, self.known[a]) for a in stage.arrangements),
            works=self.works(stage, values, chains, known),
            known=known,
            chains=chains,
        )

    def works(
        self,
        stage: Stage,
        values: list[Expr],
        chains: Mapping[Expr, Chain],
        known: Mapping[Expr, Place],
    ) -> tuple[Work, ...]:
        """The stored values of a stage by size, single numbers first."""
        summed = {p: c.sum for c in chains.values() if c.sum for p in c.sum.products}
        sums = dict.fromkeys(summed.get(p) or Sum((p,)) for p in stage.products)
        folded = {r.args[0].size for r in stage.along}
        sizes = sorted({v.size for v in (*values, *stage.products)} | folded)
        sizes.sort(key=lambda size: size != SCALAR)
        works = []
        for size in sizes:
            own = [v for v in values if v.size == size]
            ours = tuple(s for s in sums if s.products[0].size == size)
            # single numbers of this stage are known to its other works: these compute them
            rows = stage.rows()
            computed = {v for v in own if v.args and v not in rows} if size == SCALAR else set()
            there = {n: p for n, p in known.items() if n not in computed}
            if has_axes(size):  # products are stored as they are, what has axes is read from there
                works += self.products(ours)
                own = [v for v in own if not isinstance(v, Product)]
                ours = ()
            along = [r for r in stage.along if r.args[0].size == size]
            if own or ours or along:
                works.append(self.work(size, ours, own, there, stage, along))
        return tuple(works)

    def products(self, sums: Iterable[Sum]) -> list[Work]:
        """The works that store products of a size with axes, each as it is; per axis apart."""
        together: dict[str | None, list[Sum]] = {}
        for s in sums:
            together.setdefault(s.products[0].matrix.per, []).append(s)
        works = []
        for per, found in together.items():
            products = [p for s in found for p in s.products]
            stores = tuple((p, self.targets(p)) for p in products)
            works.append(Work(of_each(products[0].size, per), tuple(found), stores, {}, per=per))
        return works

    def work(
        self,
        size: str,
        sums: tuple[Sum, ...],
        own: list[Expr],
        known: Mapping[Expr, Place],
        stage: Stage,
        along: Sequence[Reduce] = (),
    ) -> Work:
        """The work that computes some values of one size, and sums along axes of such values."""
        read = _read([*own, *(r.args[0] for r in along)], known, stage)
        stores = tuple((v, self.targets(v)) for v in own)
        return Work(size, sums, stores, read, tuple(Fold(r, tuple(self.places[r])) for r in along))


def _reads_along(node: Expr, argument: Expr) -> bool:
    """Whether a value reads each unit of an argument just where it has it itself."""
    return is_along(node) or (isinstance(node, Apply) and argument.size == node.size)


def _read(values: list[Expr], known: Mapping[Expr, Place], stage: Stage) -> dict[Expr, Place]:
    """What a stage reads from memory to compute some values: products come from their sums."""
    ends = [n for n in postorder(values, until={*known, *stage.products}) if n in known]
    return {n: known[n] for n in sorted(ends, key=lambda n: known[n].argument)}


def _chains(stage: Stage, stored: Iterable[Expr]) -> dict[Expr, Chain]:
    """The additions of a stage, their terms gathered as far as nothing else uses them."""
    uses = Counter(a for n in stage.nodes() for a in n.args)
    uses.update(stored)
    inside = {n for n in stage.nodes() if _is_sum(n) and uses[n] == 1}
    inner = {a for n in stage.nodes() if _is_sum(n) for a in n.args if a in inside}
    chains = {}
    for node in stage.nodes():
        if _is_sum(node) and node not in inner:
            terms = _terms(node, inside)
            products = tuple(
                t for t in terms if isinstance(t, Product) and t in stage.products and uses[t] == 1
            )
            others = tuple(t for t in terms if t not in products)
            if len(set(products)) > 1:
                chains[node] = Chain(Sum(products), others)
    return chains


def _is_sum(node: Expr) -> bool:
    return isinstance(node, Apply) and node.function == "add"


def _terms(node: Expr, inside: set[Expr]) -> list[Expr]:
    """The terms of an addition, those of additions inside of it included."""
    terms: list[Expr] = []
    for a in node.args:
        terms += _terms(a, inside) if a in inside else [a]
    return terms
