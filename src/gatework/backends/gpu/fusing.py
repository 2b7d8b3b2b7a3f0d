"""Plans whose loop does unit by unit what stood before it.

On a card memory is what takes time. What torch's operations compute over all steps goes through
memory once an operation; a loop that reads sums of products computes the same in registers.
"""

from __future__ import annotations

from collections.abc import Container

from gatework.backends.gpu.after import read_after
from gatework.backends.gpu.products import sums
from gatework.compiler.plan import Plan, new_names, rewritten
from gatework.lang.axes import has_axes
from gatework.lang.expressions import Apply, Expr, postorder, substitute, symbol


def fused(plan: Plan) -> Plan:
    """The plan with the sums of products alone before its loop, where all else goes unit by unit.

    Example:
        >>> from gatework.cells import min_gru
        >>> from gatework.compiler.program import program
        >>> found = fused(program(min_gru).forward)
        >>> [str(value) for value in found.hoisted.values()]
        ['W_ih[z]·x + bias_ih.z', 'W_ih[n]·x + bias_ih.n']
    """
    whole, recurrence = sums(plan.hoisted.values()), plan.recurrence
    late = read_after(plan) - set(recurrence.outputs)  # and not written by the loop
    moved = {
        n: v for n, v in plan.hoisted.items()
        if v not in whole and n not in late and _goes_unit_by_unit(v, whole)
    }  # fmt: skip
    if not moved:
        return plan
    hoisted = {n: v for n, v in plan.hoisted.items() if n not in moved}
    needed = [n for n in postorder(moved.values(), until=whole) if n in whole]
    names = (n for n in new_names("hoisted", recurrence) if n not in plan.hoisted)
    hoisted |= zip(names, (n for n in needed if n not in hoisted.values()), strict=False)
    named: dict[Expr, Expr] = {v: symbol(n, "sequence", v.size) for n, v in hoisted.items()}
    read = (symbol(n, "sequence", v.size) for n, v in moved.items())
    return rewritten(plan, hoisted, dict(zip(read, substitute(moved.values(), named), strict=True)))


def _goes_unit_by_unit(value: Expr, whole: Container[Expr]) -> bool:
    """Whether a value follows from sums of products, and from what is read, without whole rows."""
    inner = [n for n in postorder([value], until=whole) if n not in whole and n.args]
    return all(isinstance(n, Apply) and not has_axes(n.size) for n in inner)
