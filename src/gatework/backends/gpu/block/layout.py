"""Where everything of a block's kernel lies, found while its text is written.

Letters: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatework.backends.gpu.block.fetching import chosen
from gatework.backends.gpu.block.memory import Everywhere, Memory, Outside, Row
from gatework.backends.gpu.block.sections import indented
from gatework.backends.gpu.code import literal
from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.text import identifiers
from gatework.compiler.passes import Pass, Place
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH
from gatework.compiler.stepping import aliases_of, stepping
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Const

ALIGNED = 4  # floats of 16 bytes, where every row begins


class Layout:
    """Where values lie, and what the text must declare for that.

    Attributes:
        slots: The slots of the kernel and their types in C.
        rows: Floats of each row of the block, by its name in the text.
        pairs: Of those that have two slots in turn, how far apart these lie.
        variables: The single numbers that every thread has.
        sequences: The addresses of rows of a step, by the name in the text.
        constants: The addresses of rows of a sequence, by the name in the text.
        tables: Fixed indices, by the name in the text.
    """

    def __init__(self, plan: Plan, setting: Setting, threads: int) -> None:
        self.plan, self.setting, self.threads = plan, setting, threads
        work = stepping(plan, {} if setting.ragged else aliases_of(plan))
        self.step, self.replay, self.states = work.step, work.replay, work.states
        self.replays = {r.state.name: r for r in plan.replays}
        self.slots: dict[str, str] = {
            "steps": "i64", "batch": "i64", "lengths": "const i64*", "order": "const i64*"
        }  # fmt: skip
        self.rows: dict[str, int] = {}
        self.pairs: dict[str, int] = {}
        self.variables: dict[str, None] = {}
        self.sequences: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.tables: dict[tuple[int, ...], str] = {}
        self._names: dict[str, str] = {}
        passes = [one for one in (self.step, self.replay) if one]
        self.numbers = {n: row for one in passes for n, row in one.numbers.items()}
        self._read_again = {p for one in passes for p in _read_again(one)}
        self.fetched = chosen(passes, setting.sizes, threads) - self._read_again
        self._offsets = {
            (p.name, block): span.start
            for p in plan.recurrence.parameters
            for block, span in p.spans(setting.sizes).items()
        }

    @property
    def warps(self) -> int:
        """Warps of a block."""
        return self.threads // 32

    def units(self, size: str) -> int:
        """n of a size."""
        return self.setting.sizes[size]

    def name(self, argument: str) -> str:
        """What something is called in the text."""
        if argument not in self._names:
            self._names = identifiers([*self._names, argument])
        return self._names[argument]

    def slot(self, argument: str, kind: str) -> str:
        """A slot of the kernel, as the text reads it."""
        self.slots.setdefault(argument, kind)
        return f"arguments.{identifiers(self.slots)[argument]}"

    def own(self, argument: str, units: int, slots: int = 1) -> Row:
        """A row of floats of the block, with so many slots."""
        name = self.name(argument)
        pitch = -(-units // ALIGNED) * ALIGNED
        self.rows[name] = max(self.rows.get(name, 0), pitch * slots)
        return Row(name, argument, units)

    def variable(self, argument: str) -> Everywhere:
        """A single number that every thread has."""
        name = self.name(argument)
        self.variables.setdefault(name)
        return Everywhere(name)

    def kept(self, argument: str, size: str) -> Row | Everywhere:
        """A value of the block: a single number in every thread, or a row."""
        return self.variable(argument) if size == SCALAR else self.own(argument, self.units(size))

    def table(self, index: tuple[int, ...]) -> str:
        """Fixed indices."""
        return self.tables.setdefault(index, f"table_{len(self.tables)}")

    # ---- places --------------------------------------------------------------------------------

    def read(self, place: Place) -> Memory:
        """Where a value is read."""
        if place.argument in self.numbers:
            return self._number(place.argument)
        match place.kind:
            case "all":
                return self._parameter(place)
            case "old" | "new":
                return self.state(place.argument.removeprefix("state "), place.kind)
            case "step" if place in self._read_again:
                return self.kept(f"again {place.argument}", place.size)
            case "step" if place in self.fetched:
                return self.here(place, 0)
            case "step":
                return self._sequence(place, "const el*")
            case _ if place.argument.startswith("constant "):
                return self._constant(place)
            case _:
                return self.kept(place.argument, place.size)

    def written(self, place: Place) -> tuple[Memory, ...]:
        """Where a value is stored: also in the block, if it is read again."""
        if place.kind == "step":
            own = (self.read(place),) if place in self._read_again else ()
            return (*own, self._sequence(place, "el*"))
        state = place.argument.removeprefix("state ")
        if place.kind == "new" and self.states.get(state) == "trajectory":
            return (self.read(place), self.trajectory(state, place.size))
        return (self.read(place),)

    def here(self, place: Place, ahead: int) -> Row | Everywhere:
        """The row of a fetched sequence, of this step or of the next one."""
        if place.size == SCALAR:
            return self.variable(f"{place.argument} now")
        return self.pair(place.argument, place.size, ahead)

    def pair(self, argument: str, size: str, ahead: int) -> Row:
        """A row with two slots in turn: the one of now, or the next one."""
        row = self.own(argument, self.units(size), 2)
        self.pairs[row.name] = self.pitch(size)
        return Row(f"{row.name}_{'next' if ahead else 'now'}", argument, row.units, ahead)

    def state(self, name: str, kind: str) -> Row | Everywhere:
        """A state before or after the step."""
        size, argument, ahead = self.size_of(name), f"state {name}", int(kind == "new")
        if size == SCALAR:
            return self.variable(f"{argument} {kind}")
        if name in self.replays:
            row = self.own(argument, self.units(size), STRETCH + 1)
            return Row(f"{row.name}_{'next' if ahead else 'now'}", argument, row.units)
        if self.states[name] == "single":
            return self.own(argument, self.units(size))
        return self.pair(argument, size, ahead)

    def size_of(self, state: str) -> str:
        """The size of a state, a replayed one included."""
        if state in self.replays:
            return self.replays[state].state.size
        return next(s.size for s in self.plan.recurrence.states if s.name == state)

    def pitch(self, size: str) -> int:
        """Floats from a slot of a row to the next."""
        return -(-self.units(size) // ALIGNED) * ALIGNED

    def trajectory(self, state: str, size: str) -> Outside:
        """The slot of a trajectory after the step."""
        name = self.name(f"trajectory {state}")
        after = "t" if self.setting.reverse else "(t + 1)"
        slot, n = self.slot(f"state {state}", "el*"), self.units(size)
        self.sequences[name] = f"el* const {name} = {slot} + ({after} * batch + row) * {n};"
        return Outside(name, n, size == SCALAR)

    def at(self, place: Place, time: str, kind: str = "const el*") -> str:
        """The address of the row of a sequence at a time."""
        pitch = self.setting.pitch(place.argument.removeprefix("sequence "), place.size)
        return f"{self.slot(place.argument, kind)} + ({time} * batch + row) * {pitch}"

    def each(self, size: str, lines: Iterable[str]) -> list[str]:
        """Statements for each unit i of a row; of a single number, by every thread."""
        loop = f"for (int i = thread; i < {self.units(size)}; i += THREADS) {{"
        return ["{ const int i = 0;" if size == SCALAR else loop, *indented(lines), "}"]

    def _sequence(self, place: Place, kind: str) -> Outside:
        """The row of a sequence at this step."""
        name = self.name(f"{place.argument} at t")
        self.sequences[name] = f"{kind} const {name} = {self.at(place, 't', kind)};"
        return Outside(name, self.units(place.size), place.size == SCALAR)

    def _constant(self, place: Place) -> Outside:
        """A row that is the same at each step."""
        name, n = self.name(place.argument), self.units(place.size)
        slot = self.slot(place.argument, "const el*")
        self.constants[name] = f"const el* const {name} = {slot} + row * {n};"
        return Outside(name, n, place.size == SCALAR)

    def _parameter(self, place: Place) -> Outside:
        """A block of a stacked vector."""
        slot = self.slot(place.argument, "const el*")
        first = self._offsets[place.offset] if place.offset else 0
        return Outside(f"{slot} + {first}", self.units(place.size), place.size == SCALAR)

    def matrix(self, name: str, block: str, columns: int) -> str:
        """The address of the first row of a matrix."""
        slot = self.slot(f"parameter {name}", "const el*")
        return f"{slot} + {self._offsets[name, block] * columns}"

    def _number(self, argument: str) -> Everywhere:
        """A row of equal numbers."""
        row = self.numbers[argument]
        return Everywhere(literal(row.value if isinstance(row, Const) else self.units(row.of)))


def _read_again(one: Pass) -> set[Place]:
    """The written rows of a pass that it reads itself: in float32, as they were computed."""
    stages = one.stages
    stored = {p for s in stages for w in s.works for p in w.places()}
    stored |= {p for s in stages for _, p in s.rows()}
    read = {p for s in stages for w in s.works for p in w.reads.values()}
    read |= {p for s in stages for p in s.whole_rows()}
    return {p for p in stored & read if p.kind == "step"}
