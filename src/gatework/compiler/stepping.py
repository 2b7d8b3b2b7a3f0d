"""What the loop of a plan does at each step, and how each state is kept between two of them.

Both backends that make machine code are made from it. Letters: T steps, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gatework.compiler.passes import Lowered, Pass, Place, Work, lower
from gatework.compiler.plan import Plan, Stage, stages
from gatework.compiler.recurrence import Replay
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Expr, Symbol

Storage = Literal["single", "double", "trajectory"]  # how a state is kept: see `Stepping`


@dataclass(frozen=True)
class Stepping:
    """The work of a step.

    Attributes:
        step: The pass of one step.
        replay: The pass that computes states of the forward pass again, where a plan does that.
        states: How each state is kept, by name: "single", in place; "double", in two slots in
            turn; "trajectory", a slot for each step and one more.
        aliases: Written sequences that are a trajectory: of which state, and whether the new one.
    """

    step: Pass
    replay: Pass | None
    states: Mapping[str, Storage]
    aliases: Mapping[str, tuple[str, bool]]


def stepping(plan: Plan, aliases: Mapping[str, tuple[str, bool]]) -> Stepping:
    """The work of a step of a plan, with the written sequences that are trajectories."""
    return stepping_of(plan, plan.stages, (*plan.next_states, *plan.written.values()), aliases)


def stepping_of(
    plan: Plan,
    step_stages: tuple[Stage, ...],
    roots: tuple[Expr, ...],
    aliases: Mapping[str, tuple[str, bool]],
) -> Stepping:
    """The same where stages and what they compute, new states first, are not the plan's own."""
    moved = {r.after: Place(f"state {r.state.name}", r.state.size, "new") for r in plan.replays}
    step = lower("step", step_stages, _step_targets(plan, roots, aliases), moved)
    replay = _lower_replay(plan.replays, moved)
    states = {s.name: _storage(s, step, aliases) for s in plan.recurrence.states}
    return Stepping(step, replay, states, aliases)


def _lower_replay(replays: tuple[Replay, ...], places: Mapping[Symbol, Place]) -> Pass | None:
    """The pass that computes states of the forward pass again, into these places."""
    targets = [(r.new, places[r.after]) for r in replays]
    return lower("replay", stages(new for new, _ in targets), targets) if targets else None


def sequences(values: Mapping[str, Expr]) -> list[tuple[Expr, Place]]:
    """Values and the places of the sequences of their names."""
    return [(v, Place(f"sequence {n}", v.size, "step")) for n, v in values.items()]


def _step_targets(
    plan: Plan, roots: tuple[Expr, ...], aliases: Mapping[str, tuple[str, bool]]
) -> list[tuple[Expr, Place]]:
    """Where a step stores its new states and what it writes."""
    states = plan.recurrence.states
    kept_in = {state for state, _ in aliases.values()}
    new = [
        (root, Place(f"state {s.name}", s.size, "new"))
        for root, s in zip(roots, states, strict=False)
        if root is not s or s.name in kept_in  # else it stays where it is
    ]
    written = dict(zip(plan.written, roots[len(states) :], strict=True))
    marked = plan.recurrence.marked  # which the loop writes beside its stages
    own = {n: v for n, v in written.items() if n not in aliases and n not in marked}
    return [*new, *sequences(own)]


def aliases_of(plan: Plan) -> dict[str, tuple[str, bool]]:
    """Written sequences that need no memory of their own.

    The rows of a state at all steps, with one row more, are both the sequence of its old values
    and the sequence of its new ones. What is handed out has its own memory all the same.
    """
    found: dict[str, tuple[str, bool]] = {}
    others = plan.recurrence.handed_out | plan.recurrence.marked
    kept = {n: v for n, v in plan.written.items() if n not in others}
    names = {v: n for n, v in kept.items()}
    for state, new in zip(plan.recurrence.states, plan.next_states, strict=True):
        if state in names:
            found[names[state]] = (state.name, False)
            found.update((n, (state.name, True)) for n, v in kept.items() if v is new)
    return found


def _storage(state: Symbol, step: Pass, aliases: Mapping[str, tuple[str, bool]]) -> Storage:
    """How a state is kept: in place if nobody still needs the old value once the new is stored."""
    if state.name in {name for name, _ in aliases.values()}:
        return "trajectory"
    place = Place(f"state {state.name}", state.size, "new")
    stored = next((k for k, s in enumerate(step.stages) if _stores(s, place)), None)
    if stored is None:
        return "single"
    stages = list(enumerate(step.stages))
    whole_rows = [k for k, s in stages if state in s.operands()]
    units = [k for k, s in stages if any(state in w.reads for w in s.works)]
    # works of other sizes run before or after that which stores it; a sum begins by clearing it
    apart = [k for k, s in stages for w in s.works if state in w.reads and not _puts(w, place)]
    before = max((*whole_rows, *apart), default=-1) < stored
    safe = before and max(units, default=-1) <= stored
    return "single" if safe and state.size != SCALAR else "double"


def _puts(work: Work, place: Place) -> bool:
    """Whether a work stores a value of its own size at a place, unit by unit."""
    return any(place in places for _, places in work.stores)


def _stores(stage: Lowered, place: Place) -> bool:
    return any(place in w.places() for w in stage.works)
