"""Where threads wait, from the plans alone: no run can be lucky here.

Two threads and a memory of 4 rows of 4 units stand for all. Every way to share work is written out
as the cells that each thread touches, so that nothing is believed that `phases` says of itself.
"""

from functools import cache
from itertools import product

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import gatework as gw
from deep_cells import DEEP_CELLS
from gatework.backends.cpu.kernel import build as kernel
from gatework.backends.cpu.kernel.layout import lay_out
from gatework.backends.cpu.kernel.phases import LOOP, Phases, Waits
from gatework.backends.cpu.kernel.setting import Arguments, Setting
from gatework.backends.cpu.kernel.team import Team
from gatework.backends.cpu.vector.target import host
from gatework.compiler.program import program
from gatework.compiler.waiting import ANYBODY, EVERYBODY, Phase, Touch, waits
from gatework.lang.printing import equations
from plan_calls import all_sizes
from random_cells import random_cells

ALL = range(4)
NAMED = ["map_of_a_map", "lstm", "gru_reset_before", "layer_norm_gru", "rearranged"]
PLANS = ["forward", "keeping", "backward", "backward_of_one"]
CELLS = gw.cells.catalogue()
SEVERAL_THREADS = {  # kinds of memory that are written by threads while a kernel runs
    "sequence", "state", "final", "panel", "gradient", "before", "step", "after",
}  # fmt: skip
SETTINGS = [  # ragged, merged, weights
    (False, False, "packed"),
    (False, True, "packed"),
    (True, False, "packed"),
    (False, False, "block"),
]


def cells_of(share, member):
    """The rows and units that thread 0 or 1 touches."""
    rows, units = ALL, ALL
    if share == "sequences as they come":
        rows = [(0, 1), (2, 3)][member]
    elif share == "sequences dealt out":
        rows = [(0, 2), (1, 3)][member]
    elif share == "equal shares of all rows":
        rows = [(0,), (1, 2, 3)][member]
    elif share.startswith("blocks of "):
        units = [(0, 1, 2), (3,)][member]
    elif share.startswith("equal shares of "):
        units = [(0, 1), (2, 3)][member]
    elif share.startswith("pieces of "):
        units = [(0, 1, 2, 3), ()][member]
    else:
        assert share in (ANYBODY, EVERYBODY)
    return set(product(rows, units))


@cache
def overlap(one_share, other_share):
    """Whether what one thread touches under a share is touched by the other under another."""
    return any(cells_of(one_share, k) & cells_of(other_share, 1 - k) for k in (0, 1))


def is_race(first, second, same_phase=False):
    """Whether two threads, one at each of two touches of a memory, disturb each other."""
    if not (first.writes or second.writes):
        return False
    if None not in (first.part, second.part) and first.part != second.part:
        return False
    if first.share == second.share == EVERYBODY and (same_phase or not second.writes):
        return False  # it reads the number that it wrote itself
    return overlap(first.share, second.share)


def disturb(first, second):
    """Whether threads disturb each other, one of them in each of two phases."""
    return any(
        is_race(a, b, same_phase=first is second)
        for a in first.touches
        for b in second.touches
        if a.memory == b.memory
    )


def races(phases, waiting):
    """The pairs of phases between which nobody waits and threads disturb each other."""
    found = []
    for i, first in enumerate(phases):
        for k, second in enumerate(phases[i:]):
            if k and second.name in waiting:
                break
            if (k or first.name != LOOP) and disturb(first, second):
                found.append((first.name, second.name))
    return found


def layouts(cell, plan, skip=frozenset()):
    """A plan's layouts in all settings that change what a kernel does."""
    for ragged, merged, weights in SETTINGS:
        sizes = all_sizes(cell, 5, 9)
        yield lay_out(plan, Setting(host(), "float", sizes, 2, ragged, merged, weights), skip)


def check(cell, plan, skip=frozenset()):
    """No race where threads wait, and one as soon as any of the waits is left out."""
    for layout in layouts(cell, plan, skip):
        phases, waiting = Phases(plan, layout, skip), Waits(plan, layout, skip)
        for shared in waiting.divisions:
            runs = (phases.in_order(shared), phases.steps(shared))
            names = {p.name for run in runs for p in run if shared in waiting.before(p.name)}
            assert not [pair for run in runs for pair in races(run, names)]
            for name in names:
                assert any(races(run, names - {name}) for run in runs), f"{name} waits in vain"


@pytest.mark.parametrize("name", CELLS)
def test_no_cell_of_the_catalogue_has_a_race(name):
    for plan in PLANS:
        check(CELLS[name], getattr(program(CELLS[name]), plan))


@gw.cell
def rearranged(x, h, c):
    """Rows that every thread arranges whole, read by products, by each other and unit by unit."""
    u = gw.tanh(gw.linear("u", x, h))
    v = gw.roll(gw.cumsum(u), 1) * gw.flip(c)
    w = gw.cat([v[:1], gw.take(v, [1, 0], size="2")])
    return gw.tanh(gw.linear("n", gw.shift(v, 1)) + u * gw.sum(w)), gw.roll(c, 1) + gw.roll(v, 2)


@pytest.mark.parametrize("plan", PLANS)
def test_rows_that_every_thread_arranges_have_no_race(plan):
    """What each thread has written whole it reads at once, and waits before it writes again."""
    plan = getattr(program(rearranged), plan)
    check(rearranged, plan)
    whole = {p for s in next(layouts(rearranged, plan)).passes.step.stages for _, p in s.rows()}
    assert len(whole) > 3


@pytest.mark.parametrize("skip", [(), ("d_x",), ("weight_ih", "bias_hh")])
@given(random_cells(noise=True, further=True), st.sampled_from(PLANS))
@settings(max_examples=15)
def test_no_random_cell_has_a_race(skip, cell, name):
    note("\n".join(equations(cell)))
    check(cell, getattr(program(cell), name), frozenset(skip))


@pytest.mark.parametrize("name", DEEP_CELLS)
def test_what_is_computed_after_the_loop_is_waited_for(name):
    """Gradients of weights read it, whichever thread has computed it."""
    plan = program(DEEP_CELLS[name]).backward
    read = {s for c in plan.recurrence.contractions for s in (c.left, c.right)}
    assert read & set(plan.deferred)
    check(DEEP_CELLS[name], plan)
    for layout in layouts(DEEP_CELLS[name], plan):
        assert False in Waits(plan, layout, frozenset()).before("contractions")


def test_threads_wait_once_for_several_things():
    """A wait covers all that came before it; a phase that is repeated has one wait."""
    write = lambda memory, share: Touch(memory, share, writes=True)  # noqa: E731
    first = Phase("first", frozenset({write("a", "blocks of n"), write("b", "blocks of n")}))
    same = Phase("same", frozenset({Touch("a", "blocks of n")}))
    other = Phase("other", frozenset({Touch("a", ANYBODY)}))
    later = Phase("later", frozenset({Touch("b", ANYBODY)}))
    assert waits([first, same, other, later]) == {"other"}
    assert waits([first, other, first, other]) == {"first", "other"}
    assert not waits([other, later, same])


# ---- what a phase says that it touches ---------------------------------------------------------


class Recorder:
    """Notes for each phase the arguments of which a kernel asks the address while it is written."""

    def __init__(self, monkeypatch):
        self.asked, self.barriers, self.phase = {}, [], None
        pointer, write_stage = Arguments.pointer, kernel.write_stage
        wait_before = kernel._Writer.wait_before

        def recorded(arguments, b, args, name):
            self.asked.setdefault(self.phase, set()).add(name)
            return pointer(arguments, b, args, name)

        def staged(name, *rest):
            self.phase = name
            write_stage(name, *rest)
            self.phase = None

        def waited(writer, phase):
            self.phase = phase
            wait_before(writer, phase)

        monkeypatch.setattr(Team, "barrier", lambda _: self.barriers.append(self.phase))
        monkeypatch.setattr(Arguments, "pointer", recorded)
        monkeypatch.setattr(kernel, "write_stage", staged)
        monkeypatch.setattr(kernel._Writer, "wait_before", waited)


def check_barriers(barriers, plan, layout):
    """Those of a kernel stand where threads shall wait."""
    waiting = Waits(plan, layout, frozenset())
    stages = (f"step_{k}" for k in range(len(layout.passes.step.stages)))
    assert sorted(barriers) == sorted(p for p in (*waiting.order, *stages) if waiting.before(p))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", NAMED)
def test_a_phase_touches_nothing_that_it_does_not_say(name, plan, monkeypatch):
    cell = {**CELLS, **DEEP_CELLS, "rearranged": rearranged}[name]
    plan, recorder = getattr(program(cell), plan), Recorder(monkeypatch)
    for layout in layouts(cell, plan):
        recorder.asked.clear()
        recorder.barriers.clear()
        kernel.build(plan, layout.setting, frozenset())
        check_barriers(recorder.barriers, plan, layout)
        phases = Phases(plan, layout, frozenset())
        said = {p.name: p.touches for p in (*phases.in_order(False), *phases.steps(False))}
        for phase in recorder.asked.keys() - {None}:
            touched = {t.memory for t in said[phase]}
            for argument in recorder.asked[phase]:
                if argument.split()[0] in SEVERAL_THREADS:
                    memory = layout.memory(argument)
                    assert memory in touched or any(t.startswith(f"{memory}.") for t in touched)
