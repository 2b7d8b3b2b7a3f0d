"""What threads have of the cell, in C: most of the spliced lines of `text/group_cell.cu`."""

from __future__ import annotations

from gatework.backends.gpu.group.asking import Asked
from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.text import identifiers
from gatework.compiler.passes import Place
from gatework.lang.axes import SCALAR
from gatework.lang.definition import block_of
from gatework.lang.expressions import Matrix, Symbol


class Cell:
    """Names what threads have of a plan's cell, and writes the lines that read and write it."""

    def __init__(self, asked: Asked, setting: Setting, grid: bool) -> None:
        self.asked, self.setting = asked, setting
        self.memory = ("exchange",) if grid else ()
        recurrence = asked.plan.recurrence
        self.states = recurrence.states
        self.trajectories = {state for state, _ in asked.aliases.values()}
        kept = [f"state {s.name}" for s in self.states]
        self.kept = identifiers(
            [*kept, *(f"new {s}" for s in kept), *asked.kept, *map(argument_of, asked.constants)]
        )
        self.read = identifiers(map(argument_of, asked.sequences))
        self.learned = identifiers(map(vector_name, asked.vectors))
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
        read = [*map(argument_of, (*asked.sequences, *asked.constants)), *sorted(parameters)]
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
            name = self.learned[vector_name(vector)]
            lines.append(f"{name} = {self.has(size)} ? load({address}) : 0.f;")
        return lines

    def reads(self) -> list[str]:
        """What is read of sequences."""
        return [f"el {name};" for name in self.read.values()]

    def load(self) -> list[str]:
        """Lines that read a row of each."""
        return [
            f"if ({self.has(s.size)}) {self.read[argument_of(s)]} = *({self.sequence(s)});"
            for s in self.asked.sequences
        ]

    def fetch(self) -> list[str]:
        """Lines that bring a row of each into a cache."""
        return [
            f"if ({self.has(s.size)}) prefetch({self.sequence(s)});" for s in self.asked.sequences
        ]

    def sequence(self, s: Symbol) -> str:
        """The address of a unit of a sequence that is read."""
        return self.element(argument_of(s), "row", s.size, self.setting.pitch(s.name, s.size))

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
            address = self.element(argument_of(c), "row", c.size)
            name = self.kept[argument_of(c)]
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


def argument_of(symbol: Symbol) -> str:
    """The argument where the rows of a symbol lie."""
    return f"{symbol.role} {symbol.name}"


def vector_name(vector: Symbol | Matrix) -> str:
    """What a learned vector, or a matrix that is one, is called."""
    name = vector.name if isinstance(vector, Symbol) else ".".join(block_of(vector))
    return f"parameter {name}"


def _size(vector: Symbol | Matrix) -> str:
    """The size of a learned vector; a matrix that is one has one row or column."""
    if isinstance(vector, Symbol):
        return vector.size
    return vector.cols if vector.rows == SCALAR else vector.rows
