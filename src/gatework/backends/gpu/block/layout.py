"""Where everything of a block's kernel lies, found while its text is written.

Letters: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gatework.backends.gpu.block.fetching import chosen
from gatework.backends.gpu.block.memory import Everywhere, Memory, Outside, Row
from gatework.backends.gpu.block.parts import Parts, Where, part
from gatework.backends.gpu.block.sections import WAIT, indented
from gatework.backends.gpu.code import literal
from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.text import identifiers
from gatework.compiler.passes import Pass, Place
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH
from gatework.compiler.stepping import aliases_of, stepping
from gatework.lang.axes import SCALAR, is_long
from gatework.lang.definition import block_of
from gatework.lang.expressions import Count, Matrix
from gatework.lang.sizes import Sizes

ALIGNED = 4  # floats of 16 bytes, where every row begins
FEW, MANY = 64, 512  # threads of a block, at least and at most
DEEP = 16  # units of a row with all axes that a thread takes
LANES = 8  # threads of a row of a matrix


@dataclass(frozen=True)
class Held:
    """What a block needs of a matrix, or of those of each head: some of its rows or columns.

    Attributes:
        address: Where the call has the first of them.
        rows: How many rows it needs at most.
        columns: How many columns.
        pitch: Elements from a row to the next.
        left: How many rows there are from the first one on, as the text says it.
        across: The same of columns.
    """

    address: str
    rows: int
    columns: int
    pitch: int
    left: str
    across: str

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return self.rows * self.columns


class Layout:
    """Where values lie, and what the text must declare for that.

    Attributes:
        slots: The slots of the kernel and their types in C.
        rows: Floats of each row of the block, by its name in the text.
        matrices: What products read, by the name in the text.
        pairs: Of those that have two slots in turn, how far apart these lie.
        variables: The single numbers that every thread has.
        tables: Fixed indices, by the name in the text.
    """

    def __init__(self, plan: Plan, setting: Setting, parts: Parts, team: int = 1) -> None:
        self.plan, self.setting, self.parts, self.team = plan, setting, parts, team
        own = {axis: setting.sizes[axis] // count for axis, count in parts.items()}
        self.sizes = Sizes.of({**setting.sizes, **own})
        work = stepping(plan, {} if setting.ragged else aliases_of(plan))
        self.step, self.replay, self.states = work.step, work.replay, work.states
        self.replays = {r.state.name: r for r in plan.replays}
        self.slots: dict[str, str] = {
            "steps": "i64", "batch": "i64", "lengths": "const i64*", "order": "const i64*"
        }  # fmt: skip
        self.rows: dict[str, int] = {}
        self.matrices: dict[str, Held] = {}
        self.pairs: dict[str, int] = {}
        self.variables: dict[str, None] = {}
        self.tables: dict[tuple[int, ...], str] = {}
        self._names: dict[str, str] = {}
        self.threads = self._threads()
        passes = [one for one in (self.step, self.replay) if one]
        self.numbers = {n: row for one in passes for n, row in one.numbers.items()}
        self._read_again = {p for one in passes for p in _read_again(one)}
        self.fetched = chosen(passes, self.sizes, self.threads) - self._read_again
        self._offsets = {
            (p.name, block): span.start
            for p in plan.recurrence.parameters
            for block, span in p.spans(setting.sizes).items()
        }

    def _threads(self) -> int:
        """Threads of a block: by the widest row, and by the rows of matrices."""
        works = [w for s in self.step.stages for w in s.works]
        wanted = [-(-self.units(w.size) // (DEEP if is_long(w.size) else 1)) for w in works]
        wanted += [LANES * self.units(p.size) for p in self.step.products()]
        threads = 32 if self.parts else FEW
        while threads < min(MANY, max(wanted, default=1)):
            threads *= 2
        return threads

    @property
    def blocks(self) -> int:
        """How many blocks have something to do."""
        return self.setting.batch * math.prod(self.parts.values()) * self.team

    @property
    def warps(self) -> int:
        """Warps of a block."""
        return self.threads // 32

    def units(self, size: str) -> int:
        """n of a size: of a part of the row where its axes are divided."""
        return self.sizes[size]

    def outside(self, address: str, size: str) -> Outside:
        """A row of elements at an address, or the part of it that is meant."""
        where = Where(size, self.setting.sizes, self.parts)
        whole = len(where.runs) < 2
        who = "thread == 0" if size == SCALAR else ""
        if self.team > 1:  # all of them compute it
            who = " && ".join(filter(None, [who, "rank == 0"]))
        return Outside(address + where.first, self.units(size), who, None if whole else where)

    def row_of(self, argument: str, size: str, row: str, kind: str = "const el*") -> Outside:
        """A row of what has rows of one size after each other."""
        whole = self.setting.sizes[size]
        return self.outside(f"{self.slot(argument, kind)} + ({row}) * {whole}", size)

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
                return self.at(place, "t")
            case _ if place.argument.startswith("constant "):
                return self.row_of(place.argument, place.size, "row")
            case _:
                return self.kept(place.argument, place.size)

    def written(self, place: Place) -> tuple[Memory, ...]:
        """Where a value is stored: also in the block, if it is read again."""
        if place.kind == "step":
            own = (self.read(place),) if place in self._read_again else ()
            return (*own, self.at(place, "t", "el*"))
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
        after = "t" if self.setting.reverse else "(t + 1)"
        return self.row_of(f"state {state}", size, f"{after} * batch + row", "el*")

    def at(self, place: Place, time: str, kind: str = "const el*") -> Outside:
        """The row of a sequence at a time."""
        pitch = self.setting.pitch(place.argument.removeprefix("sequence "), place.size)
        slot = self.slot(place.argument, kind)
        return self.outside(f"{slot} + ({time} * batch + row) * {pitch}", place.size)

    def each(self, size: str, lines: Iterable[str]) -> list[str]:
        """Statements for each unit i of a row; of a single number, by every thread."""
        loop = f"for (int i = thread; i < {self.units(size)}; i += THREADS) {{"
        return ["{ const int i = 0;" if size == SCALAR else loop, *indented(lines), "}"]

    def _parameter(self, place: Place) -> Outside:
        """A block of a stacked vector."""
        first = self._offsets[place.offset] if place.offset else 0
        return self.outside(f"{self.slot(place.argument, 'const el*')} + {first}", place.size)

    @property
    def meet(self) -> str:
        """How all wait that run one part of a sequence."""
        return WAIT if self.team == 1 else "sync_cluster();"

    def share(self, units: int, together: int) -> int:
        """How many units of a product each block of a team computes, some always together."""
        return -(-units // (self.team * together)) * together

    def matrix(self, matrix: Matrix, turned: bool, share: int) -> str:
        """The rows of a matrix, or its columns, of which a block has a share: their name."""
        address, width = self._address(matrix), self.units(matrix.width)
        rows = matrix.heads(self.sizes) * self.units(matrix.height)
        begin = f"rank * {share}"
        if self.team == 1:
            held = Held(address, rows, width, width, str(rows), str(width))
        elif turned:
            address = f"{address} + {begin}"
            held = Held(address, rows, share, width, str(rows), f"{width} - {begin}")
        else:
            address = f"{address} + (i64){begin} * {width}"
            held = Held(address, share, width, width, f"{rows} - {begin}", str(width))
        form = "columns" if turned and self.team > 1 else "rows"
        name = self.name(f"{form} of {'.'.join(block_of(matrix))}")
        self.matrices[name] = held
        return name

    def _address(self, matrix: Matrix) -> str:
        """Where a matrix lies; of a matrix per head, that of our first one."""
        name, block = block_of(matrix)
        width, height = self.units(matrix.width), self.units(matrix.height)
        slot, first = self.slot(f"parameter {name}", "const el*"), self._offsets[name, block]
        address = f"{slot} + {first * width}"
        if matrix.per is not None and matrix.per in self.parts:
            ours = matrix.heads(self.sizes) * height * width
            address += f" + {part(matrix.per, self.parts)} * {ours}"
        return address

    def _number(self, argument: str) -> Everywhere:
        """A row of equal numbers."""
        row = self.numbers[argument]
        value = self.setting.sizes[row.of] if isinstance(row, Count) else row.value
        return Everywhere(literal(value))


def _read_again(one: Pass) -> set[Place]:
    """The written rows of a pass that it reads itself: in float32, as they were computed."""
    stages = one.stages
    stored = {p for s in stages for w in s.works for p in w.places()}
    stored |= {p for s in stages for _, p in s.rows()}
    read = {p for s in stages for w in s.works for p in w.reads.values()}
    read |= {p for s in stages for p in s.whole_rows()}
    return {p for p in stored & read if p.kind == "step"}
