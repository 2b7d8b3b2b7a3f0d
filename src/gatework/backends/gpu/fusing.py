"""Plans whose loop does unit by unit what stood before it.

On a card memory is what takes time. What torch's operations compute over all steps goes through
memory once an operation; a loop that reads sums of products computes the same in registers.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from itertools import count

from gatework.backends.gpu.products import sums
from gatework.compiler.plan import Plan, stages
from gatework.lang.axes import has_axes
from gatework.lang.expressions import Apply, Expr, Symbol, postorder, substitute, symbol


def fused(plan: Plan) -> Plan:
    """The plan with the sums of products alone before its loop, where all else goes unit by unit.

    Example:
        >>> from gatework.cells import min_gru
        >>> from gatework.compiler.program import program
        >>> found = fused(program(min_gru).forward)
        >>> [str(value) for value in found.hoisted.values()]
        ['W_ih[z]·x + bias_ih.z', 'W_ih[n]·x + bias_ih.n']
    """
    whole, late = sums(plan.hoisted.values()), _read_late(plan)
    moved = {
        n: v for n, v in plan.hoisted.items()
        if v not in whole and n not in late and _goes_unit_by_unit(v, whole)
    }  # fmt: skip
    if not moved:
        return plan
    hoisted = {n: v for n, v in plan.hoisted.items() if n not in moved}
    needed = [n for n in postorder(moved.values(), until=whole) if n in whole]
    hoisted |= zip(_names(plan), (n for n in needed if n not in hoisted.values()), strict=False)
    named: dict[Expr, Expr] = {v: symbol(n, "sequence", v.size) for n, v in hoisted.items()}
    read = (symbol(n, "sequence", v.size) for n, v in moved.items())
    return _with(plan, hoisted, dict(zip(read, substitute(moved.values(), named), strict=True)))


def _with(plan: Plan, hoisted: dict[str, Expr], values: dict[Expr, Expr]) -> Plan:
    """The plan with other values before the loop, and these in the place of sequences."""
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


def _read_late(plan: Plan) -> set[str]:
    """The sequences that are read after the loop and that it does not write."""
    read = {n.name for n in postorder(plan.deferred.values()) if isinstance(n, Symbol)}
    recurrence = plan.recurrence
    read |= {name for c in recurrence.contractions for name in (c.left, c.right)}
    read |= {s.sequence for s in recurrence.summations}
    return read - set(recurrence.outputs)


def _goes_unit_by_unit(value: Expr, whole: Container[Expr]) -> bool:
    """Whether a value follows from sums of products, and from what is read, without whole rows."""
    inner = [n for n in postorder([value], until=whole) if n not in whole and n.args]
    return all(isinstance(n, Apply) and not has_axes(n.size) for n in inner)


def _names(plan: Plan) -> Iterator[str]:
    """Names of sequences that the plan does not have."""
    recurrence = plan.recurrence
    taken: set[str] = {s.name for s in recurrence.sequences} | {*recurrence.outputs, *plan.hoisted}
    names: Iterable[str] = (f"hoisted{k}" for k in count())
    return (n for n in names if n not in taken)
