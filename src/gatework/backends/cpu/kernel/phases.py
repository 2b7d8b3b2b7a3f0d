"""What the phases of a kernel read and write, and where its threads wait for each other.

Every thread runs every phase, each a share of its work. Between two waits threads may be in
different phases, so nobody may read there what another one writes, nor overwrite what another one
reads. What a phase touches is data, and where threads wait is derived from it, here alone.

How the work is divided depends on the call: either each thread has rows of its own, or all share
the units of every row. A kernel does both, so it waits wherever one of the two needs it.

Letters: n units of a row, i the number of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gatework.backends.cpu.kernel.gradients import wanted_contractions, wanted_summations
from gatework.backends.cpu.kernel.layout import Layout, panels_of
from gatework.compiler.passes import Kind, Lowered, Pass, Place, When
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import Storage
from gatework.compiler.waiting import ANYBODY, EVERYBODY, Phase, Touch, waits
from gatework.lang.axes import SCALAR
from gatework.lang.definition import block_of

LOOP = "loop"
STEPS = 3  # steps that are looked at: in the third, each of two slots is used again


class Waits:
    """The phases of a kernel in order, and where threads wait.

    Attributes:
        order: The names of the phases that do anything; one is the loop as a whole.
    """

    def __init__(self, plan: Plan, layout: Layout, skip: frozenset[str]) -> None:
        phases = Phases(plan, layout, skip)
        self.order = tuple(p.name for p in phases.in_order(shared=False) if p.touches)
        self._before = {
            shared: waits(phases.in_order(shared)) | waits(phases.steps(shared))
            for shared in ((False,) if plan.recurrence.has_axes else (False, True))
        }

    @property
    def divisions(self) -> tuple[bool, ...]:
        """The ways in which the work may be divided: whether threads share units."""
        return tuple(self._before)

    def before(self, phase: str) -> tuple[bool, ...]:
        """Whether threads share units, for each way of dividing the work that waits here."""
        return tuple(shared for shared, names in self._before.items() if phase in names)


# ---- the phases of a kernel --------------------------------------------------------------------


class Use(NamedTuple):
    """What a stage touches, in any step and either way to divide the work.

    Attributes:
        memory: The argument that points to it.
        kind: That of its place; None for a packed matrix.
        shares: Which thread touches which part: with rows of its own, and where units are shared.
        writes: Whether it is written.
    """

    memory: str
    kind: Kind | None
    shares: tuple[str, str]
    writes: bool = False


class Phases:
    """The phases of a kernel.

    Args:
        plan: The plan.
        layout: Where everything lies.
        skip: Outputs and gradients that are not wanted.
    """

    def __init__(self, plan: Plan, layout: Layout, skip: frozenset[str]) -> None:
        self.plan, self.layout, self.skip = plan, layout, skip
        rows = "equal shares of all rows"
        dealt = "sequences dealt out"
        dealt_out: dict[When, str] = {
            "before": rows, "replay": dealt, "step": dealt, "after": rows
        }  # fmt: skip
        private = {f"state {r.state.name}" for r in layout.replays}  # each thread has its own
        self._uses = {
            name: [
                {u for u in _uses(layout, one, stage, dealt_out[name]) if u.memory not in private}
                for stage in one.stages
            ]
            for name, one in layout.passes.items()
        }

    def in_order(self, shared: bool) -> tuple[Phase, ...]:
        """Every phase once, the loop as a whole; `shared`, whether threads share units."""
        stages = (*self._uses.get("replay", ()), *self._uses["step"])
        loop = (self._touch(use, None, shared) for uses in stages for use in uses)
        return (
            Phase("begin", frozenset(self._begin())),
            Phase("pack", frozenset(self._pack())),
            *self._stages("before", None, shared),
            Phase(LOOP, frozenset(loop)),
            Phase("end", frozenset(self._end())),
            *self._stages("after", None, shared),
            Phase("contractions", frozenset(self._contractions())),
            Phase("summations", frozenset(self._summations())),
        )

    def steps(self, shared: bool) -> tuple[Phase, ...]:
        """The stages of the first steps of the loop, one after the other."""
        return tuple(phase for i in range(STEPS) for phase in self._stages("step", i, shared))

    # ---- what each touches ---------------------------------------------------------------------

    def _begin(self) -> Iterator[Touch]:
        for name in self.layout.states:
            yield Touch(f"state {name}", "sequences as they come", writes=True)

    def _pack(self) -> Iterator[Touch]:
        for panels in self.layout.panels():
            yield Touch(panels.name, _units(panels.outer), writes=True)

    def _end(self) -> Iterator[Touch]:
        for name, storage in self.layout.states.items():
            if storage != "single":
                yield Touch(f"state {name}", "sequences as they come")
                yield Touch(f"final {name}", "sequences as they come", writes=True)

    def _contractions(self) -> Iterator[Touch]:
        for c in wanted_contractions(self.plan, self.skip):
            own = f"equal shares of {c.matrix.rows}"
            yield Touch(self.layout.memory(f"sequence {c.left}"), own)
            yield Touch(self.layout.memory(f"sequence {c.right}"), ANYBODY)
            yield Touch("gradient {}.{}".format(*block_of(c.matrix)), own, writes=True)

    def _summations(self) -> Iterator[Touch]:
        for s in wanted_summations(self.plan, self.skip):
            own = f"pieces of {s.parameter.size}"
            yield Touch(self.layout.memory(f"sequence {s.sequence}"), own)
            yield Touch("gradient {}.{}".format(*block_of(s.parameter)), own, writes=True)

    def _stages(self, name: When, i: int | None, shared: bool) -> Iterator[Phase]:
        """The stages of a pass: those of the loop in step i."""
        for k, uses in enumerate(self._uses[name]):
            yield Phase(f"{name}_{k}", frozenset(self._touch(use, i, shared) for use in uses))

    def _touch(self, use: Use, i: int | None, shared: bool) -> Touch:
        """What is touched in step i, or in any."""
        part = None if i is None else self._part(use, i)
        return Touch(use.memory, use.shares[shared], use.writes, part)

    def _part(self, use: Use, i: int) -> int | None:
        """The slot of a state or the step of a sequence that step i touches."""
        match use.kind:
            case "step":
                return i
            case "row" | "sequence" | "all" | None:
                return None
            case "old" | "new":
                at = i + (use.kind == "new")
                slots: dict[Storage, int] = {"single": 0, "double": at % 2, "trajectory": at}
                return slots[self.layout.states[use.memory.removeprefix("state ")]]


def _uses(layout: Layout, one: Pass, stage: Lowered, own: str) -> Iterator[Use]:
    """What a stage of a pass touches; `own`, the rows of a thread that has rows of its own."""
    whole = {place for s in one.stages for _, place in s.rows()}  # each thread writes all of it

    def use(place: Place, share: str, writes: bool = False) -> Use:
        return Use(layout.memory(place.argument), place.kind, (own, share), writes)

    for place in stage.whole_rows():
        yield use(place, EVERYBODY if place.size == SCALAR or place in whole else ANYBODY)
    for _, place in stage.rows():
        yield use(place, EVERYBODY, writes=True)
    for work in stage.works:
        for place in work.reads.values():
            yield use(place, EVERYBODY if place in whole else _units(place.size))
        for place in work.places():
            yield use(place, _units(work.size), writes=True)
    for panels in panels_of(stage) if layout.setting.weights == "packed" else ():
        yield Use(panels.name, None, (ANYBODY, _units(panels.outer)))


def _units(size: str) -> str:
    """Who computes the units of a row, or packs what they need, where units are shared."""
    return EVERYBODY if size == SCALAR else f"blocks of {size}"
