"""What threads compute of the cell, in C: the spliced lines of `text/scan_*.cu`.

Values are called `v.…` where they are the same at every step, `x.…` where they are read at this
step, `s.…` where they are states.

Letters: n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gatework.backends.gpu.code import evaluated
from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.text import identifiers
from gatework.compiler.plan import Plan
from gatework.lang.definition import block_of
from gatework.lang.expressions import Const, Count, Expr, Symbol, postorder

Names = dict[Expr, str]
MOVING = ("sequence", "state")  # the roles of what changes from step to step


class Cell:
    """Writes the lines of a plan whose loop goes unit by unit.

    Args:
        plan: The plan.
        setting: What the kernel is made for.
        aliases: Written sequences that are a state at all steps, see `Stepping`.

    Attributes:
        units: How many threads a sequence has: the units of its largest row.
        sequences: The sequences that are read.
        fixed: What is the same at every step and computed once.
    """

    def __init__(
        self, plan: Plan, setting: Setting, aliases: Mapping[str, tuple[str, bool]]
    ) -> None:
        self.setting, self.states = setting, plan.recurrence.states
        self.new = dict(zip(self.states, plan.next_states, strict=True))
        self.written = {n: v for n, v in plan.written.items() if n not in aliases}
        self.slots_of = {state for state, _ in aliases.values()}
        self.roots = (*plan.next_states, *self.written.values())
        symbols = [n for n in postorder(self.roots) if isinstance(n, Symbol)]
        self.sequences = [s for s in symbols if s.role == "sequence"]
        self.given = [s for s in symbols if s.role not in MOVING]
        self.fixed = _fixed(self.roots)
        rows = (*symbols, *self.states, *self.written.values())
        self.units = max((setting.sizes[r.size] for r in rows), default=1)
        self.arguments = identifiers(self.slots())
        self.members = identifiers(
            [*(_argument(s) for s in (*symbols, *self.states)), *map(_output, self.written)]
        )
        parameters = {p.name: p.spans(setting.sizes) for p in plan.recurrence.parameters}
        self.first = {(n, b): span.start for n, s in parameters.items() for b, span in s.items()}

    # ---- arguments -----------------------------------------------------------------------------

    def slots(self) -> dict[str, str]:
        """The kernel's arguments and their types in C."""
        read = dict.fromkeys(_slot(s) for s in (*self.sequences, *self.given))
        states = [s.name for s in self.states]
        return {
            **dict.fromkeys(("steps", "batch"), "i64"),
            "lengths": "const i64*",
            **dict.fromkeys((*read, *(f"initial {s}" for s in states)), "const el*"),
            **dict.fromkeys((f"final {s}" for s in states), "el*"),
            **dict.fromkeys((f"state {s}" for s in states if s in self.slots_of), "el*"),
            **dict.fromkeys(map(_output, self.written), "el*"),
        }

    def element(self, slot: str, row: str, size: str, pitch: int | None = None) -> str:
        """The address of a thread's unit in a row; of another unit where it has none there."""
        n = self.setting.sizes[size]
        unit = "at.unit" if n == self.units else f"min(at.unit, {n - 1})" if n > 1 else "0"
        return f"a.{self.arguments[slot]} + {row} * {n if pitch is None else pitch} + {unit}"

    def store(self, slot: str, row: str, value: str, size: str, pitch: int | None = None) -> str:
        """A line that writes a unit, where the thread has one."""
        n = self.setting.sizes[size]
        has = "" if n == self.units else f"if (at.unit < {n}) "
        return f"{has}::store({self.element(slot, row, size, pitch)}, {value});"

    # ---- what a thread has ---------------------------------------------------------------------

    def fixed_members(self) -> list[str]:
        """What is the same at every step."""
        return [f"float {name};" for name in [*self.members_of(self.given), *self.fixed.values()]]

    def fix(self) -> list[str]:
        """Lines that read it and compute it."""
        lines = []
        for s in self.given:
            name = self.members[_argument(s)]
            lines.append(f"{name} = at.here ? ::load({self.given_at(s)}) : 0.f;")
        known: Names = {s: self.members[_argument(s)] for s in self.given}
        computed, names = evaluated(self.fixed, known, self.setting.sizes)
        return [*lines, *computed, *(f"{m} = {names[v]};" for v, m in self.fixed.items())]

    def given_at(self, s: Symbol) -> str:
        """The address of a unit of a constant row or a learned vector."""
        if s.role != "parameter":
            return self.element(_slot(s), "at.row", s.size)
        return self.element(_slot(s), str(self.first[block_of(s)]), s.size, pitch=1)

    def reads(self) -> list[str]:
        """What is read of sequences."""
        return [f"el {name};" for name in self.members_of(self.sequences)]

    def load(self) -> list[str]:
        """Lines that read a row of each."""
        return [
            f"{self.members[_argument(s)]} = *({self.element(_slot(s), 'row', s.size, pitch)});"
            for s in self.sequences
            for pitch in [self.setting.pitch(s.name, s.size)]
        ]

    def state_members(self) -> list[str]:
        """The states."""
        return [f"float {name} = 0.f;" for name in self.members_of(self.states)]

    def begin(self) -> list[str]:
        """Lines that read the initial states."""
        return [
            f"if (a.{self.arguments[slot]}) {self.members[_argument(s)]} = "
            f"::load({self.element(slot, 'at.row', s.size)});"
            for s in self.states
            for slot in [f"initial {s.name}"]
        ]

    def end(self) -> list[str]:
        """Lines that write the final states."""
        return [
            self.store(f"final {s.name}", "at.row", self.members[_argument(s)], s.size)
            for s in self.states
        ]

    def store_first(self) -> list[str]:
        """Lines that put states before the first step where they are kept at all steps."""
        row = "(a.steps * a.batch + at.row)" if self.setting.reverse else "at.row"
        return self.store_slots(row, "")

    def store_slots(self, row: str, prefix: str) -> list[str]:
        """Lines that put states where they are kept at all steps."""
        return [
            self.store(f"state {s.name}", row, f"{prefix}{self.members[_argument(s)]}", s.size)
            for s in self.states
            if s.name in self.slots_of
        ]

    def members_of(self, symbols: Iterable[Symbol]) -> list[str]:
        """What symbols are called."""
        return [self.members[_argument(s)] for s in symbols]

    # ---- a step --------------------------------------------------------------------------------

    def written_members(self) -> list[str]:
        """What a step writes."""
        return [f"float {self.members[_output(n)]};" for n in self.written]

    def store_step(self) -> list[str]:
        """Lines that store it, and the new states where they are kept at all steps."""
        lines = [
            self.store(_output(n), "row", self.members[_output(n)], v.size, pitch)
            for n, v in self.written.items()
            for pitch in [self.setting.pitch(n, v.size)]
        ]
        after = "row" if self.setting.reverse else "(row + a.batch)"
        return [*lines, *self.store_slots(after, "s.")]

    def step(self) -> list[str]:
        """Lines that compute what is written, and the new states."""
        lines, names = evaluated(self.roots, self.names(), self.setting.sizes)
        written = [f"w.{self.members[_output(n)]} = {names[v]};" for n, v in self.written.items()]
        return [*lines, *written, *self.put({s: names[v] for s, v in self.new.items()}, "s.")]

    def put(self, new: Mapping[Symbol, str], prefix: str) -> Iterator[str]:
        """Lines that give states new values; what is an old state is read before it is written."""
        changed = {s: v for s, v in new.items() if v != f"{prefix}{self.members[_argument(s)]}"}
        for k, value in enumerate(changed.values()):
            yield f"const float new{k} = {value};"
        for k, s in enumerate(changed):
            yield f"{prefix}{self.members[_argument(s)]} = new{k};"

    def names(self) -> Names:
        """What is there before a step."""
        members = {s: self.members[_argument(s)] for s in (*self.given, *self.states)}
        return {
            **{s: f"{'s' if s.role == 'state' else 'v'}.{name}" for s, name in members.items()},
            **{v: f"v.{name}" for v, name in self.fixed.items()},
            **{s: f"to_float(x.{self.members[_argument(s)]})" for s in self.sequences},
        }


def _fixed(roots: Iterable[Expr]) -> dict[Expr, str]:
    """The largest values that are the same at every step, and what they are called."""
    order, moving = tuple(postorder(roots)), set[Expr]()
    for node in order:
        moves = isinstance(node, Symbol) and node.role in MOVING
        if moves or any(a in moving for a in node.args):
            moving.add(node)
    used = [a for n in order if n in moving for a in n.args] + list(roots)
    found = dict.fromkeys(v for v in used if v not in moving and _is_computed(v))
    return {value: f"fixed{k}" for k, value in enumerate(found)}


def _is_computed(value: Expr) -> bool:
    return not isinstance(value, Symbol | Const | Count)


def _argument(symbol: Symbol) -> str:
    return f"{symbol.role} {symbol.name}"


def _output(name: str) -> str:
    return f"sequence {name}"


def _slot(symbol: Symbol) -> str:
    """The kernel's argument that a symbol is read from."""
    if symbol.role == "parameter":
        return f"parameter {block_of(symbol)[0]}"
    return _argument(symbol)
