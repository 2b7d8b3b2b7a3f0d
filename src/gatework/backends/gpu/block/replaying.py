"""The loop of a sequence that is marked, or goes back stretch by stretch from marks.

A marked sequence of a call has a row of every `STRETCH`-th step, counted from the first step that
the call runs forward: also of steps that a sequence does not have. The backward pass takes the mark
of a stretch into a slot of its own memory, from which each step forward fills the next one.

In the text: k steps that the sequence has run, f the step of the forward pass, t its time.
"""

from __future__ import annotations

from collections.abc import Iterator

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.block.memory import Outside, Row, by_unit
from gatework.backends.gpu.block.sections import Section, section


def mark(layout: Layout) -> Iterator[Section]:
    """The sections of a step that write the marks of its states, if it is one that does."""
    for row, marks in _marks(layout, "(f / STRETCH)"):
        lines = ["if (f % STRETCH == 0)", f"  {_copied(row, marks)}"]
        yield section(lines, row.used(by_unit(row.units)))


def marks_beside(layout: Layout, slot: str) -> list[str]:
    """Marks of steps that a sequence does not have: before its first one, or after its last."""
    found = list(_marks(layout, "(f / STRETCH)"))
    if not found:
        return []
    reverse = layout.setting.reverse
    first = "0" if reverse else "(length + STRETCH - 1) / STRETCH * STRETCH"
    last = "steps - length" if reverse else "steps"
    lines = [f"for (i64 f = {first}; f < {last}; f += STRETCH) {{"]
    for row, marks in found:
        begin = row.name.removesuffix("_now") if row.ahead is not None else row.name
        pitch = layout.pitch(layout.size_of(row.memory.removeprefix("state ")))
        there = Row(f"({begin} + {slot} * {pitch})", row.memory, row.units)
        lines.append(f"  {_copied(row if row.ahead is None else there, marks)}")
    return [*lines, "}"]


def _marks(layout: Layout, at: str) -> Iterator[tuple[Row, Outside]]:
    """The states that are marked before a step, and where."""
    marked = layout.plan.recurrence.marked
    for name, state in layout.plan.written.items():
        if name in marked:
            row = layout.state(state.name, "old")
            assert isinstance(row, Row)  # what is marked has axes
            there = f"{at} * batch + row"
            yield row, layout.row_of(f"sequence {name}", state.size, there, "el*")


def _copied(row: Row, to: Outside) -> str:
    """The statement that copies a row."""
    copied = to.write("i", row.read("i"))
    return f"for (int i = thread; i < {row.units}; i += THREADS) {copied}"


def restored(layout: Layout) -> list[str]:
    """The marks of a stretch, into the slot of its first step."""
    lines = []
    for replay in layout.replays.values():
        row = layout.own(f"state {replay.state.name}", layout.units(replay.state.size))
        size, there = replay.state.size, "stretch * batch + row"
        mark = layout.row_of(f"sequence {replay.marks}", size, there).read("i")
        to = f"{row.name}[begin % STRETCH * {layout.pitch(size)} + i]"
        lines.append(f"for (int i = thread; i < {row.units}; i += THREADS) {to} = {mark};")
    return lines
