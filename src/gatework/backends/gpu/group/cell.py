"""What threads compute of the cell, in C: the spliced lines of `text/group_cell.cu`.

Values are called `k.…` where a thread keeps them, `x.…` where they are read at this step, `v.…`
where they are learned, `sum[…]` and `total[…]` where they come from products and partial sums.

Letters: n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatework.backends.gpu.code import expression
from gatework.backends.gpu.group.asking import (
    Asked,
    Exchange,
    Partial,
    Phase,
    is_matrix,
    is_scaled,
)
from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.text import identifiers
from gatework.compiler.passes import Place, Work
from gatework.lang.axes import SCALAR
from gatework.lang.definition import block_of
from gatework.lang.expressions import Const, Count, Expr, Matrix, Product, Reduce, Symbol

Names = dict[Expr, str]


class Cell:
    """Writes the lines of a plan's cell."""

    def __init__(self, asked: Asked, setting: Setting, grid: bool) -> None:
        self.asked, self.setting = asked, setting
        self.memory = ("exchange",) if grid else ()
        recurrence = asked.plan.recurrence
        self.states = recurrence.states
        self.trajectories = {state for state, _ in asked.aliases.values()}
        kept = [f"state {s.name}" for s in self.states]
        self.kept = identifiers(
            [*kept, *(f"new {s}" for s in kept), *asked.kept, *map(_argument, asked.constants)]
        )
        self.read = identifiers(map(_argument, asked.sequences))
        self.learned = identifiers(map(_vector, asked.vectors))
        self.arguments = identifiers(self.slots())
        self.types = identifiers(f"size {size}" for size in asked.sizes())
        spans = ((p.name, p.spans(setting.sizes), p) for p in recurrence.parameters)
        self.first = {(name, b): s.start for name, found, _ in spans for b, s in found.items()}

    # ---- arguments -----------------------------------------------------------------------------

    def slots(self) -> dict[str, str]:
        """The kernel's arguments and their types in C."""
        asked, states = self.asked, [s.name for s in self.states]
        ragged = ("lengths", "order") if self.setting.ragged else ()
        parameters = {f"parameter {block_of(m)[0]}" for m in (*asked.vectors, *self.matrices())}
        read = [*map(_argument, (*asked.sequences, *asked.constants)), *sorted(parameters)]
        return {
            **dict.fromkeys(("steps", "batch"), "i64"),
            **dict.fromkeys(ragged, "const i64*"),
            **dict.fromkeys(("status", *self.memory), "void*"),
            **dict.fromkeys(read, "const el*"),
            **dict.fromkeys((f"initial {s}" for s in states), "const el*"),
            **dict.fromkeys((f"final {s}" for s in states), "el*"),
            **dict.fromkeys((f"state {s}" for s in states if s in self.trajectories), "el*"),
            **dict.fromkeys(self.written(), "el*"),
        }

    def written(self) -> tuple[str, ...]:
        """The sequences that the loop writes."""
        phases = range(len(self.asked.phases))
        return tuple(dict.fromkeys(p.argument for k in phases for p in self.step_places(k)))

    def matrices(self) -> tuple[Matrix, ...]:
        """The matrices of products."""
        found = (p.matrix for k in self.asked.phases for s in k.sums for p in k.matrices(s))
        return tuple(dict.fromkeys(found))

    def type_of(self, size: str) -> str:
        """A size as a type in C."""
        return "Single" if size == SCALAR else self.types[f"size {size}"]

    def has(self, size: str) -> str:
        """Whether a thread has a unit of a size."""
        return f"{self.type_of(size)}::has(at)"

    def writes(self, size: str) -> str:
        """Whether a thread writes a unit of a size."""
        return "Single::writes(at)" if size == SCALAR else self.has(size)

    def element(self, argument: str, row: str, size: str, pitch: int | None = None) -> str:
        """The address of a thread's unit in a row."""
        n = self.setting.sizes[size] if pitch is None else pitch
        return self.address(argument, f"{row} * {n}", size)

    def address(self, argument: str, first: str, size: str) -> str:
        """The address of a thread's unit in a row that begins at an element."""
        return f"a.{self.arguments[argument]} + {first} + {self.type_of(size)}::unit(at)"

    # ---- what a thread has ---------------------------------------------------------------------

    def vectors(self) -> list[str]:
        """The learned vectors."""
        return [f"float {name};" for name in self.learned.values()]

    def learn(self) -> list[str]:
        """Lines that read them."""
        lines = []
        for vector in self.asked.vectors:
            parameter, block = block_of(vector)
            first = self.first[parameter, block]
            if isinstance(vector, Matrix):
                first *= self.setting.sizes[vector.cols]
            size = _size(vector)
            address = self.address(f"parameter {parameter}", str(first), size)
            name = self.learned[_vector(vector)]
            lines.append(f"{name} = {self.has(size)} ? load({address}) : 0.f;")
        return lines

    def reads(self) -> list[str]:
        """What is read of sequences."""
        return [f"el {name};" for name in self.read.values()]

    def load(self) -> list[str]:
        """Lines that read a row of each."""
        return [
            f"if ({self.has(s.size)}) {self.read[_argument(s)]} = *({self.sequence(s)});"
            for s in self.asked.sequences
        ]

    def fetch(self) -> list[str]:
        """Lines that bring a row of each into a cache."""
        return [
            f"if ({self.has(s.size)}) prefetch({self.sequence(s)});" for s in self.asked.sequences
        ]

    def sequence(self, s: Symbol) -> str:
        """The address of a unit of a sequence that is read."""
        return self.element(_argument(s), "row", s.size, self.setting.pitch(s.name, s.size))

    def values(self) -> list[str]:
        """What a thread keeps."""
        return [f"float {name} = 0.f;" for name in self.kept.values()]

    def begin(self) -> list[str]:
        """Lines that read the initial states and the constants."""
        lines = []
        for s in self.states:
            name, initial = self.kept[f"state {s.name}"], f"initial {s.name}"
            given = f"here && {self.has(s.size)} && a.{self.arguments[initial]}"
            lines.append(f"if ({given}) {name} = load({self.element(initial, 'row', s.size)});")
            if s.name in self.trajectories:
                first = "(row + a.steps * a.batch)" if self.setting.reverse else "row"
                slot = self.element(f"state {s.name}", first, s.size)
                lines.append(f"if (here && {self.writes(s.size)}) store({slot}, {name});")
        for c in self.asked.constants:
            address = self.element(_argument(c), "row", c.size)
            name = self.kept[_argument(c)]
            lines.append(f"if (here && {self.has(c.size)}) {name} = load({address});")
        return lines

    def advance(self) -> list[str]:
        """Lines that make the new states the old ones."""
        return [
            f"if (active) {self.kept[f'state {s.name}']} = {self.kept[f'new state {s.name}']};"
            for s in self.states
            if self.is_stored(s)
        ]

    def is_stored(self, state: Symbol) -> bool:
        """Whether a step gives a state a new value."""
        works = (w for p in self.asked.phases for w in p.stage.works)
        return any(p.argument == f"state {state.name}" for w in works for p in w.places())

    def end(self) -> list[str]:
        """Lines that write the final states."""
        return [
            f"if ({self.writes(s.size)}) "
            f"store({self.element(f'final {s.name}', 'row', s.size)}, "
            f"{self.kept[f'state {s.name}']});"
            for s in self.states
        ]

    # ---- a stage -------------------------------------------------------------------------------

    def leaves(self) -> Names:
        """What is there before a step: states, constants and learned vectors."""
        found: Names = {s: f"k.{self.kept[f'state {s.name}']}" for s in self.states}
        found |= {c: f"k.{self.kept[_argument(c)]}" for c in self.asked.constants}
        return found | {
            v: f"v.{self.learned[_vector(v)]}" for v in self.asked.vectors if isinstance(v, Symbol)
        }

    def before(self) -> list[str]:
        """Lines that give the rows of the first stage's exchange."""
        exchange = self.asked.phases[0].exchange
        return self.handed_on(exchange, self.leaves()) if exchange else []

    def compute(self, k: int) -> list[str]:
        """Lines that compute a stage unit by unit, and give the rows of the next exchange."""
        phase = self.asked.phases[k]
        names, lines = self.known(phase), []
        lines += self.totals(phase, names)
        for work in phase.stage.works:
            lines += self.work(phase, work, names)
        if k + 1 == len(self.asked.phases):
            lines.append("k.advance(active);")
            return [*lines, "before_step(at, v, k, row, value);"]
        exchange = self.asked.phases[k + 1].exchange
        if exchange:
            asked = [*exchange.operands, *(p.args[0] for p in exchange.partials)]
            lines += self.evaluate(phase, asked, names)
            lines += self.handed_on(exchange, names)
        return lines

    def known(self, phase: Phase) -> Names:
        """What a stage knows when it begins."""
        names = self.leaves()
        names |= {s: f"to_float(x.{self.read[_argument(s)]})" for s in self.asked.sequences}
        own = {v for w in phase.stage.works if w.size == SCALAR for v, _ in w.stores}
        earlier = {v: p for v, p in phase.stage.known.items() if v.args and v not in own}
        kept = {v: self.kept.get(p.argument) for v, p in earlier.items()}
        return names | {v: f"k.{name}" for v, name in kept.items() if name}

    def totals(self, phase: Phase, names: Names) -> list[str]:
        """Lines that keep what was summed over tiles."""
        places, lines = dict(phase.stage.reductions), []
        for number, partial in enumerate(ordered(phase.exchange) if phase.exchange else ()):
            names[partial] = f"total[{number}]"
            if isinstance(partial, Reduce):
                lines += self.store(f"total[{number}]", places[partial])
        return lines

    def work(self, phase: Phase, work: Work, names: Names) -> list[str]:
        """Lines that compute and store the values of a size."""
        lines = self.evaluate(phase, [v for v, _ in work.stores], names)
        for value, places in work.stores:
            lines += [line for p in places for line in self.store(names[value], p)]
        return lines

    def store(self, value: str, place: Place) -> list[str]:
        """Lines that put a value where it lies."""
        if place.kind == "new":
            return [f"k.{self.kept[f'new {place.argument}']} = {value};"]
        kept, written = self.kept.get(place.argument), self.arguments.get(place.argument)
        lines = [f"k.{kept} = {value};"] if kept else []
        return [*lines, f"w.{written} = to_el({value});"] if place.kind == "step" else lines

    def handed_on(self, exchange: Exchange, names: Names) -> list[str]:
        """Lines that give the rows of an exchange: nothing where a thread has no unit."""
        lines = [
            f"row[{k}] = to_el({self.has(r.size)} ? {names[r]} : 0.f);"
            for k, r in enumerate(exchange.operands)
        ]
        for k, partial in enumerate(ordered(exchange)):
            row = partial.args[0]
            value, nothing = names[row], "lowest()" if is_maximum(partial) else "0.f"
            if isinstance(partial, Product):
                value = f"v.{self.learned[_vector(partial.matrix)]} * {value}"
            lines.append(f"value[{k}] = {self.has(row.size)} ? {value} : {nothing};")
        return lines

    def evaluate(self, phase: Phase, values: Iterable[Expr], names: Names) -> list[str]:
        """Lines that compute values, each once."""
        lines: list[str] = []
        for node in self.order(phase, values, names):
            if isinstance(node, Const | Count):
                names[node] = expression(node, names, self.setting.sizes)
                continue
            name = names[node] = f"v{len(names)}"
            lines.append(f"const float {name} = {self.code(phase, node, names)};")
        return lines

    def order(self, phase: Phase, values: Iterable[Expr], names: Names) -> Iterator[Expr]:
        """What has no name yet of what values are computed from, arguments before results."""
        stack, seen = [(v, False) for v in reversed([*values])], set()
        while stack:
            node, ready = stack.pop()
            if ready:
                yield node
            elif node not in names and node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack += [(a, False) for a in reversed(self.terms(phase, node))]

    def terms(self, phase: Phase, node: Expr) -> tuple[Expr, ...]:
        """What a value is computed from, unit by unit."""
        if isinstance(node, Product):
            return node.args if is_scaled(node) else ()
        chain = phase.stage.chains.get(node)
        if chain is None or chain.sum is None:
            return node.args
        return (*(p for p in chain.sum.products if not is_matrix(p)), *chain.others)

    def code(self, phase: Phase, node: Expr, names: Names) -> str:
        """A value as C, of the names of its terms."""
        if isinstance(node, Product):
            if is_scaled(node):
                return f"v.{self.learned[_vector(node.matrix)]} * {names[node.args[0]]}"
            return self.sum_of(phase, node)
        chain = phase.stage.chains.get(node)
        if chain is None or chain.sum is None:
            return expression(node, names, self.setting.sizes)
        summed = [self.sum_of(phase, p) for p in chain.sum.products if is_matrix(p)][:1]
        return " + ".join([*summed, *(names[t] for t in self.terms(phase, node))])

    def sum_of(self, phase: Phase, product: Product) -> str:
        """The accumulator of a product."""
        sums = sorted(phase.sums, key=lambda s: self.by_size(phase).index(s.products[0].size))
        return f"sum[{next(k for k, s in enumerate(sums) if product in s.products)}]"

    def by_size(self, phase: Phase) -> list[str]:
        """The sizes of a stage's sums, in their order."""
        return [*dict.fromkeys(s.products[0].size for s in phase.sums)]

    # ---- what a stage writes -------------------------------------------------------------------

    def stage_written(self, k: int) -> list[str]:
        """The elements that a stage writes."""
        return [f"el {self.arguments[p.argument]};" for p in self.step_places(k)]

    def stage_store(self, k: int) -> list[str]:
        """Lines that write them, and the new states in slots of their own."""
        lines = []
        for p in self.step_places(k):
            pitch = self.setting.pitch(p.argument.removeprefix("sequence "), p.size)
            address = self.element(p.argument, "row", p.size, pitch)
            lines.append(f"if ({self.writes(p.size)}) *({address}) = {self.arguments[p.argument]};")
        if k + 1 == len(self.asked.phases):
            after = "row" if self.setting.reverse else "(row + a.batch)"
            for s in (s for s in self.states if s.name in self.trajectories):
                address = self.element(f"state {s.name}", after, s.size)
                value = f"k.{self.kept[f'state {s.name}']}"
                lines.append(f"if ({self.writes(s.size)}) store({address}, {value});")
        return lines

    def step_places(self, k: int) -> list[Place]:
        """Where a stage writes sequences."""
        stage = self.asked.phases[k].stage
        places = (*(p for _, p in stage.rows()), *(p for w in stage.works for p in w.places()))
        return list(dict.fromkeys(p for p in places if p.kind == "step"))


def ordered(exchange: Exchange) -> tuple[Partial, ...]:
    """The partials of an exchange, those of a size together."""
    return tuple(p for size in exchange.partial_sizes() for p in exchange.of_size(size))


def is_maximum(partial: Partial) -> bool:
    """Whether a partial is a maximum; else it is a sum."""
    return isinstance(partial, Reduce) and partial.function == "max"


def _argument(symbol: Symbol) -> str:
    return f"{symbol.role} {symbol.name}"


def _vector(vector: Symbol | Matrix) -> str:
    """What a learned vector, or a matrix that is one, is called."""
    name = vector.name if isinstance(vector, Symbol) else ".".join(block_of(vector))
    return f"parameter {name}"


def _size(vector: Symbol | Matrix) -> str:
    """The size of a learned vector; a matrix that is one has one row or column."""
    if isinstance(vector, Symbol):
        return vector.size
    return vector.cols if vector.rows == SCALAR else vector.rows
