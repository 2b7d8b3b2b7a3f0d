"""What the loop of a plan does at each step, and how each state is kept between two of them.

Both backends that make machine code are made from it. Letters: T steps, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gatework.compiler.passes import Lowered, Pass, Place, Work, lower
from gatework.compiler.plan import Plan, stages
from gatework.compiler.recurrence import Replay
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Expr, Symbol, postorder, substitute

Storage = Literal["single", "double", "trajectory"]  # how a state is kept: see `Stepping`


@dataclass(frozen=True)
class Stepping:
    """The work of a step.

    Attributes:
        step: The pass of one step.
        replay: The pass that computes states of the forward pass again, where a plan does that, and
            what is written of them while they are at hand.
        states: How each state is kept, by name: "single", in place; "double", in two slots in
            turn; "trajectory", a slot for each step and one more.
        aliases: Written sequences that are a trajectory: of which state, and whether the new one.
        written: The sequences that these passes write into memory of their own.
    """

    step: Pass
    replay: Pass | None
    states: Mapping[str, Storage]
    aliases: Mapping[str, tuple[str, bool]]
    written: Mapping[str, Expr]


def stepping(plan: Plan, aliases: Mapping[str, tuple[str, bool]]) -> Stepping:
    """The work of a step of a plan, with the written sequences that are trajectories."""
    moved = {r.after: Place(f"state {r.state.name}", r.state.size, "new") for r in plan.replays}
    written = _written(plan, aliases)
    again = _written_again(plan, written)
    own = {n: v for n, v in written.items() if n not in again}
    step = _lower_step(plan, own, aliases, moved)
    replay = _lower_replay(plan.replays, again, moved)
    states = {s.name: _storage(s, step, aliases) for s in plan.recurrence.states}
    return Stepping(step, replay, states, aliases, written)


def _lower_step(
    plan: Plan,
    written: Mapping[str, Expr],
    aliases: Mapping[str, tuple[str, bool]],
    places: Mapping[Symbol, Place],
) -> Pass:
    """The pass of a step, which stores its new states and these sequences."""
    states, kept_in = plan.recurrence.states, {state for state, _ in aliases.values()}
    new = [
        (value, Place(f"state {s.name}", s.size, "new"))
        for value, s in zip(plan.next_states, states, strict=True)
        if value is not s or s.name in kept_in  # else it stays where it is
    ]
    roots = (*plan.next_states, *written.values())
    return lower("step", stages(roots), [*new, *sequences(written)], places)


def _lower_replay(
    replays: tuple[Replay, ...], written: Mapping[str, Expr], places: Mapping[Symbol, Place]
) -> Pass | None:
    """The pass that computes states of the forward pass again, into these places."""
    if not replays:
        return None
    new: dict[Expr, Expr] = {r.after: r.new for r in replays}
    values = dict(zip(written, substitute(written.values(), new), strict=True))
    targets = [*((r.new, places[r.after]) for r in replays), *sequences(values)]
    return lower("replay", stages(value for value, _ in targets), targets)


def _written(plan: Plan, aliases: Mapping[str, tuple[str, bool]]) -> dict[str, Expr]:
    """The sequences that the stages of the loop write into memory of their own."""
    others = {*aliases, *plan.hoisted, *plan.recurrence.marked}
    return {n: v for n, v in plan.written.items() if n not in others}


def _written_again(plan: Plan, written: Mapping[str, Expr]) -> dict[str, Expr]:
    """Those that are computed with the states of the forward pass, while these are at hand.

    They read such states, and none that the loop goes on with.
    """
    again, states = {s for r in plan.replays for s in (r.state, r.after)}, plan.recurrence.states
    reads = {n: set(postorder([v])) for n, v in written.items()}
    return {n: v for n, v in written.items() if reads[n] & again and reads[n].isdisjoint(states)}


def sequences(values: Mapping[str, Expr]) -> list[tuple[Expr, Place]]:
    """Values and the places of the sequences of their names."""
    return [(v, Place(f"sequence {n}", v.size, "step")) for n, v in values.items()]


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
