"""The block form: one block of threads runs one sequence through all its steps.

It is made for any plan at all. The text does not grow with the sizes. Where there are more
multiprocessors than sequences, blocks share a sequence: see `parts` and `teams`.

Letters: T steps, B sequences, n units of a row. In the text: row the sequence, t the time of a
step, k how many the sequence has run before it, f which step of the forward pass it is.
"""

from __future__ import annotations

import math

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import Everywhere, Row
from gatework.backends.gpu.block.parts import MOST, declared, parts_of
from gatework.backends.gpu.block.replaying import mark, marks_beside, restored
from gatework.backends.gpu.block.room import SCRATCH, Room, room
from gatework.backends.gpu.block.sections import WAIT, indented
from gatework.backends.gpu.block.steps import Steps
from gatework.backends.gpu.block.teams import teams
from gatework.backends.gpu.loop import Loop, Scratch, Setting
from gatework.backends.gpu.machine import Launch, Machine
from gatework.backends.gpu.text import arguments, assembled, identifiers, read, spliced
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH


def block(plan: Plan, setting: Setting, machine: Machine) -> Loop:
    """The kernel of a plan in which a block runs a sequence."""
    layout, lines, there = written(plan, setting, machine)
    blocks, each = layout.blocks, layout.blocks // setting.batch
    if there.scratch:
        layout.slot(SCRATCH, "float*")
        blocks = min(blocks, -(-MOST * machine.processors // each) * each)
    text = spliced(
        read("block.cu"),
        {
            "THREADS": str(layout.threads),
            "STRETCH": str(STRETCH),
            "TABLES": "\n".join(_table(t, name) for t, name in layout.tables.items()),
            "ARGUMENTS": _arguments(layout.slots),
            "TEAM": str(layout.team),
            "PARTS": str(each // layout.team),
            "MEET": layout.meet,
            "ROWS": "\n".join(indented([*declared(layout.parts), *there.declared()])),
            "SEQUENCE": "\n".join(indented(indented(lines))),
        },
    )
    return Loop(
        form="block",
        text=assembled(text, setting.element, exact=setting.exact),
        launch=Launch(blocks, layout.threads, there.shared, layout.team),
        arguments=tuple(layout.slots),
        scratch=(Scratch(SCRATCH, 4 * there.floats * blocks),) if there.scratch else (),
        about=_about(layout),
    )


def written(plan: Plan, setting: Setting, machine: Machine) -> tuple[Layout, list[str], Room]:
    """The lines of a kernel and what lies where: of the smallest team that holds its matrices."""
    parts = parts_of(plan, setting, machine)
    found = _written(Layout(plan, setting, parts), machine)
    for team in teams(found[0], machine) if found[2].far else ():
        larger = _written(Layout(plan, setting, parts, team), machine)
        if any(name.startswith("sum_") for name in larger[2].scratch):
            break  # others cannot write there
        found = larger
        if not found[2].far:
            break
    return found


def _written(layout: Layout, machine: Machine) -> tuple[Layout, list[str], Room]:
    lines = _Writer(layout).sequence()
    return layout, lines, room(layout, machine)


def _about(layout: Layout) -> str:
    """What a block runs."""
    parts = math.prod(layout.parts.values())
    what = "a sequence" if parts == 1 else f"1 of {parts} parts of a sequence"
    if layout.team == 1:
        return f"a block of {layout.threads} threads runs {what}"
    return f"{layout.team} blocks of {layout.threads} threads run {what}"


def _arguments(slots: dict[str, str]) -> str:
    """The struct of the slots, from their names and types."""
    names = identifiers(slots)
    return arguments({names[slot]: kind for slot, kind in slots.items()})


def _table(table: tuple[int, ...], name: str) -> str:
    """The declaration of fixed indices."""
    return f"__device__ const int {name}[] = {{{', '.join(map(str, table))}}};"


class _Writer:
    """Writes how a block runs a sequence."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.setting = layout, layout.setting
        self.states = layout.plan.recurrence.states

    def sequence(self) -> list[str]:
        """All that is done for a sequence."""
        loop = self.stretches() if self.layout.replay else self.loop()
        reverse = self.setting.reverse
        begin, end = self.begin(), self.end()
        return [
            *(f"float {name} = 0.0f;" for name in self.layout.variables),
            *begin,
            *(marks_beside(self.layout, "0") if reverse else []),
            WAIT,
            *loop,
            WAIT,
            *([] if reverse else marks_beside(self.layout, "(length % 2)")),
            *end,
        ]

    # ---- states --------------------------------------------------------------------------------

    def begin(self) -> list[str]:
        """The initial states into the slots that the first step reads."""
        return [line for s in self.states for line in self.begin_one(s.name, s.size)]

    def begin_one(self, name: str, size: str) -> list[str]:
        """One of them; zero without an address."""
        initial = self.layout.row_of(f"initial {name}", size, "row").read("i")
        first = f"{self.layout.slot(f'initial {name}', '')} ? {initial} : 0.0f"
        slot = "steps" if self.setting.reverse else "0"
        own = self.layout.state(name, "old")
        there = own.name if isinstance(own, Everywhere) else f"{self.base(own)}[i]"
        lines = [f"{there} = {first};"]
        if self.layout.states[name] == "trajectory":
            trajectory = self.layout.row_of(f"state {name}", size, f"{slot} * batch + row", "el*")
            lines.append(trajectory.write("i", there))
        return self.layout.each(size, lines)

    def end(self) -> list[str]:
        """The final states into memory."""
        return [line for s in self.states for line in self.end_one(s.name, s.size)]

    def end_one(self, name: str, size: str) -> list[str]:
        """One of them."""
        final = self.layout.row_of(f"final {name}", size, "row", "el*")
        own = self.layout.state(name, "old")
        if isinstance(own, Everywhere):
            there = own.name
        else:
            slot = f"length % 2 * {self.layout.pitch(size)} + " if own.ahead is not None else ""
            there = f"{self.base(own)}[{slot}i]"
        return self.layout.each(size, [final.write("i", there)])

    def base(self, row: Row) -> str:
        """The first slot of a state."""
        return self.layout.own(row.memory, row.units).name

    # ---- steps ---------------------------------------------------------------------------------

    def loop(self) -> list[str]:
        """All steps, one after the other."""
        reverse = self.setting.reverse
        clock = [
            f"const i64 f = {'steps - length + k' if reverse else 'k'};",
            f"const i64 t = {'length - 1 - k' if reverse else 'k'};",
            f"const i64 t_next = {'t - 1' if reverse else 't + 1'};",
            "const bool more = k + 1 < length;",
        ]
        steps = Steps(self.layout, "step", clock, list(mark(self.layout)))
        return [
            "if (length > 0) {",
            *indented(steps.first("const i64 k = 0;")),
            "}",
            WAIT,
            *steps.all("for (i64 k = 0; k < length; ++k)"),
        ]

    def stretches(self) -> list[str]:
        """Back from the last step, stretch by stretch: forward from its mark first."""
        reverse = self.setting.reverse
        clock = [
            "const i64 k = stop - 1 - f;",
            f"const i64 t = {'f' if reverse else 'steps - 1 - f'};",
        ]
        later, sooner = ("t + 1", "t - 1") if reverse else ("t - 1", "t + 1")
        up = [*clock, f"const i64 t_next = {later};", "const bool more = f + 1 < end;"]
        down = [*clock, f"const i64 t_next = {sooner};", "const bool more = f > begin;"]
        again, back = Steps(self.layout, "replay", up), Steps(self.layout, "step", down)
        body = [
            "const i64 stretch = (at - 1) / STRETCH, end = at;",
            "const i64 begin = stretch * STRETCH > start ? stretch * STRETCH : start;",
            *restored(self.layout),
            *again.first("const i64 f = begin;"),
            WAIT,
            *again.all("for (i64 f = begin; f < end; ++f)"),
            WAIT,
            *back.first("const i64 f = end - 1;"),
            WAIT,
            *back.all("for (i64 f = end - 1; f >= begin; --f)"),
            self.layout.meet,
            "at = begin;",
        ]
        first = f"const i64 start = {'0' if reverse else 'steps - length'}, stop = start + length;"
        return [first, "for (i64 at = stop; at > start;) {", *indented(body), "}"]
