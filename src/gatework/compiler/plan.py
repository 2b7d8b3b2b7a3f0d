"""The plan: in which order a recurrence does its work. It knows no machine.

    before the loop   what depends on the read sequences alone, for all steps at once ("hoisted")
    in the loop       the stages of a step: products and whole rows, then unit by unit
    after the loop    what no later step waits for ("deferred"), and the gradients of parameters

A stage begins where a whole row must be complete: at the operand of a product, at a reduction or an
arrangement, and where a value is repeated along an axis. A reduction along axes runs while its row
is computed, so its result is complete with that stage. Everything else is unit by unit and belongs
to the stage of its latest argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from gatework.compiler.recurrence import Recurrence, Replay
from gatework.lang.axes import SCALAR, has_axes, is_long
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Expr,
    Product,
    Reduce,
    Symbol,
    postorder,
    substitute,
    symbol,
)

WHOLE = (Product, Reduce, Arrange)  # what reads whole rows


@dataclass(frozen=True, eq=False)
class Stage:
    """What can be computed once the rows of the stages before it are complete, in this order."""

    products: tuple[Product, ...]
    reductions: tuple[Reduce, ...]
    arrangements: tuple[Arrange, ...]
    values: tuple[Apply, ...]
    along: tuple[Reduce, ...] = ()  # reductions of these values along axes

    def nodes(self) -> tuple[Expr, ...]:
        """Everything the stage computes."""
        return (*self.products, *self.rows(), *self.values, *self.along)

    def rows(self) -> tuple[Reduce | Arrange, ...]:
        """What is made of whole rows before the stage goes unit by unit."""
        return (*self.reductions, *self.arrangements)


@dataclass(frozen=True, eq=False)
class Plan:
    """A recurrence and the order of its work.

    Attributes:
        recurrence: What is computed.
        hoisted: Values over all steps, before the loop; the loop reads each as the sequence named,
            which may be an output.
        stages: The work of one step.
        next_states: The new states, in terms of what the stages compute.
        written: The sequences the loop writes: outputs, and what others follow from; of those that
            are hoisted the sequence itself.
        deferred: Outputs computed after the loop from read, hoisted and written sequences.
        replays: The states of the forward pass that are computed again, in the same terms.
    """

    recurrence: Recurrence
    hoisted: Mapping[str, Expr]
    stages: tuple[Stage, ...]
    next_states: tuple[Expr, ...]
    written: Mapping[str, Expr]
    deferred: Mapping[str, Expr]
    replays: tuple[Replay, ...] = ()


def plan(recurrence: Recurrence) -> Plan:
    """Order the work of a recurrence.

    Example:
        >>> from gatework import cells
        >>> from gatework.compiler.recurrence import of_cell
        >>> [len(plan(of_cell(c)).stages) for c in (cells.gru, cells.gru_reset_before)]
        [1, 2]
    """
    written, deferred = _split_outputs(recurrence)
    replays, states = recurrence.replays, len(recurrence.next_states)
    roots = (*(r.new for r in replays), *recurrence.next_states, *written.values())
    hoisted = _hoisted(roots, recurrence)
    written.update((n, v) for n, v in recurrence.outputs.items() if n in hoisted)
    roots = (*roots[: len(replays) + states], *written.values())
    names = {node: symbol(n, "sequence", node.size) for n, node in hoisted.items()}
    roots = substitute(roots, names)
    again, roots = roots[: len(replays)], roots[len(replays) :]
    late = {n: v for n, v in deferred.items() if n not in hoisted}
    return Plan(
        recurrence=recurrence,
        hoisted=hoisted,
        stages=stages(roots),
        next_states=roots[:states],
        written=dict(zip(written, roots[states:], strict=True)),
        deferred=dict(zip(late, substitute(late.values(), names), strict=True)),
        replays=tuple(replace(r, new=new) for r, new in zip(replays, again, strict=True)),
    )


def rewritten(plan: Plan, hoisted: Mapping[str, Expr], values: Mapping[Expr, Expr]) -> Plan:
    """The plan with other values before its loop, and expressions in the place of sequences."""
    new, written = (
        substitute(roots, values) for roots in (plan.next_states, plan.written.values())
    )
    again = substitute((r.new for r in plan.replays), values)
    return replace(
        plan,
        hoisted=hoisted,
        stages=stages((*new, *written)),
        next_states=new,
        written=dict(zip(plan.written, written, strict=True)),
        replays=tuple(replace(r, new=v) for r, v in zip(plan.replays, again, strict=True)),
    )


# ---- before the loop ---------------------------------------------------------------------------


def _hoisted(roots: Iterable[Expr], recurrence: Recurrence) -> dict[str, Expr]:
    """The largest values that read no state and hold what takes a stage, or a product.

    Outputs that are computed on the way keep their names.
    """
    roots = tuple(roots)
    order = tuple(postorder(roots))
    repeated = {a for n in order for a in n.args if _is_repeated(a, n)}
    bound = _bound(order)
    worth: set[Expr] = set()  # what holds what takes a stage
    for node in order:
        if _takes_a_stage(node) or node in repeated or any(a in worth for a in node.args):
            worth.add(node)
    free = [n for n in order if n not in bound and n in worth and _reads_sequence(n)]
    used_inside = {a for n in order if n in bound for a in n.args} | set(roots)
    chosen = [n for n in free if n in used_inside]
    computed = {n for n in postorder(chosen) if n.args}
    outputs = {n: v for n, v in recurrence.outputs.items() if v in computed}
    unnamed = [n for n in chosen if n not in outputs.values()]
    return {**outputs, **dict(zip(new_names("hoisted", recurrence), unnamed, strict=False))}


def new_names(wish: str, recurrence: Recurrence) -> Iterator[str]:
    """Names of sequences that the recurrence does not have."""
    taken = {s.name for s in recurrence.sequences} | set(recurrence.outputs)
    return (n for k in count() if (n := f"{wish}{k}") not in taken)


def _bound(order: Iterable[Expr]) -> set[Expr]:
    """What must stay in the loop, of values with their arguments before them."""
    bound: set[Expr] = set()
    for node in order:
        stays = _is_carried(node) or _reads_one_row(node) or is_outer(node)
        if stays or any(a in bound for a in node.args):
            bound.add(node)
    return bound


def _reads_one_row(node: Expr) -> bool:
    """Whether a whole row is read that is the same at every step: not one of all steps' rows."""
    return isinstance(node, WHOLE) and any(
        isinstance(a, Symbol) and a.role == "constant" for a in node.args
    )


def _is_carried(node: Expr) -> bool:
    """Whether a row is there in the loop alone: a state, or a long one, such as kept states.

    The loop reads it anyway: to read it for all steps at once would be a second way to memory.
    """
    return isinstance(node, Symbol) and (node.role == "state" or is_long(node.size))


def is_outer(node: Expr) -> bool:
    """Whether a value has more units than all it is made of: too many to keep for all steps."""
    outer = isinstance(node, Apply) and has_axes(node.size)
    return outer and all(a.size != node.size for a in node.args)


def _takes_a_stage(node: Expr) -> bool:
    """Whether it is better done before the loop: a row that is read is arranged anywhere."""
    arranged = isinstance(node, Arrange) and any(a.args for a in node.args)
    return arranged or isinstance(node, Product | Reduce)


def _is_repeated(argument: Expr, node: Expr) -> bool:
    """Whether a row that a step would compute has to be complete, to be repeated along an axis."""
    return isinstance(argument, Apply) and has_axes(argument.size) and _waits(node, argument)


def _reads_sequence(value: Expr) -> bool:
    return any(isinstance(n, Symbol) and n.role == "sequence" for n in postorder([value]))


# ---- after the loop ----------------------------------------------------------------------------


class _Late:
    """Finds the outputs that can wait until after the loop, and the rows that they follow from.

    An output waits when it is arithmetic on products and reductions of written sequences that no
    new state needs: ∂L/∂x = Σ Wᵀ dG. Other rows are written for it, too: of a recurrence with axes
    sums over the long ones, and short ones that a new state needs as well; else new states, where
    nothing else multiplies in the loop.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        self.has_axes = recurrence.has_axes
        self.needed = set(postorder(recurrence.next_states))
        self.bound = _bound(postorder(recurrence.results()))
        reads_whole = any(isinstance(n, WHOLE) and _reads_state(n) for n in self.needed)
        self.new_states = () if reads_whole else tuple(n for n in recurrence.next_states if n.args)

    def can_wait(self, value: Expr, handed_out: bool) -> bool:
        """Whether an output takes a product or a sum that no new state needs.

        The sums of one that is handed out are taken in the loop: rows for it would cost more.
        """
        if value in self.needed or is_long_sum(value):
            return False
        others = tuple(n for n in postorder([value]) if n not in self.needed)
        if value in self.bound:
            others = tuple(n for n in others if n in self.bound)
        return any(isinstance(n, Product) or (is_along(n) and not handed_out) for n in others)

    def rows(self, value: Expr, written: set[Expr]) -> tuple[Expr, ...] | None:
        """The rows that the loop writes of what an output is made of; None if there are others."""
        found = {n for n in postorder([value]) if n in written or self._may_be_written(n)}
        walked = tuple(postorder([value], until=found))
        if any(_is_carried(n) or _reads_one_row(n) for n in walked if n not in found):
            return None
        return tuple(n for n in walked if n in found)

    def _may_be_written(self, node: Expr) -> bool:
        """Whether the loop can write a row that is no output of it."""
        if node not in self.bound or is_long(node.size):
            return False
        if not self.has_axes:
            return node in self.new_states
        return node in self.needed or is_long_sum(node)


def _split_outputs(recurrence: Recurrence) -> tuple[dict[str, Expr], dict[str, Expr]]:
    """What the loop writes, and the outputs that follow from that after it: see `_Late`."""
    late, outputs = _Late(recurrence), recurrence.outputs
    waiting = {n for n, v in outputs.items() if late.can_wait(v, n in recurrence.handed_out)}
    while True:
        written = {n: v for n, v in outputs.items() if n not in waiting}
        stored = {v for v in written.values() if _stored(v)}
        rows = {n: late.rows(outputs[n], stored) for n in waiting}
        stuck = {n for n, found in rows.items() if found is None}
        if not stuck:
            break
        waiting -= stuck
    own = (row for n in outputs for row in rows.get(n) or () if row not in stored)
    written.update(zip(new_names("later", recurrence), dict.fromkeys(own), strict=False))
    names = {v: symbol(n, "sequence", v.size) for n, v in written.items() if _stored(v)}
    late_outputs = {n: v for n, v in outputs.items() if n in waiting}
    return written, dict(zip(late_outputs, substitute(late_outputs.values(), names), strict=True))


def _reads_state(value: Expr) -> bool:
    return any(isinstance(n, Symbol) and n.role == "state" for n in postorder([value]))


def is_long_sum(node: Expr) -> bool:
    """Whether a value is a sum over long rows, which are there in the loop alone."""
    return is_along(node) and is_long(node.args[0].size)


def _stored(value: Expr) -> bool:
    """Whether the written sequence of a value is the place to read it after the loop."""
    return bool(value.args) or (isinstance(value, Symbol) and value.role == "state")


# ---- in the loop -------------------------------------------------------------------------------


def stages(roots: Iterable[Expr]) -> tuple[Stage, ...]:
    """The stages that compute some values, in order."""
    level: dict[Expr, int] = {}
    members: dict[int, list[Expr]] = {}
    for node in postorder(roots):
        # A row that this step computes is complete only when its stage is over.
        level[node] = max((level[a] + _waits(node, a) for a in node.args), default=0)
        if node.args:
            members.setdefault(level[node], []).append(node)
    return tuple(_stage(members.get(k, ())) for k in range(max(members, default=-1) + 1))


def _waits(node: Expr, argument: Expr) -> bool:
    """Whether a value is computed in a later stage than an argument, which must be complete."""
    if not argument.args:
        return False
    if is_along(argument) or isinstance(node, Product | Arrange):
        return True
    if isinstance(node, Reduce):
        return not is_along(node) or isinstance(argument, Product)
    if not has_axes(node.size):
        return False
    return isinstance(argument, Product) or argument.size not in (node.size, SCALAR)


def is_along(node: Expr) -> bool:
    """Whether a value is a reduction along some axes of several."""
    return isinstance(node, Reduce) and has_axes(node.args[0].size)


def _stage(nodes: Iterable[Expr]) -> Stage:
    nodes = tuple(nodes)
    reductions = tuple(n for n in nodes if isinstance(n, Reduce))
    return Stage(
        products=tuple(n for n in nodes if isinstance(n, Product)),
        reductions=tuple(n for n in reductions if not is_along(n)),
        arrangements=tuple(n for n in nodes if isinstance(n, Arrange)),
        values=tuple(n for n in nodes if isinstance(n, Apply)),
        along=tuple(n for n in reductions if is_along(n)),
    )
