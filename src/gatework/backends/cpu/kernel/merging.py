"""Plans whose loop does what stood before it: the input's products, where a step has many rows.

A product of one step's rows leaves its sums in a near cache, where the step reads them at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gatework.compiler.passes import ROWS
from gatework.compiler.plan import Plan, rewritten, stages
from gatework.lang.expressions import Expr, substitute, symbol


def merged(plan: Plan) -> Plan:
    """The plan with nothing before the loop, where the loop can do it as well."""
    if not _can_merge(plan.hoisted.values()):
        return plan
    values: dict[Expr, Expr] = {symbol(n, "sequence", v.size): v for n, v in plan.hoisted.items()}
    late = substitute(plan.deferred.values(), values)
    deferred = dict(zip(plan.deferred, late, strict=True))
    return replace(rewritten(plan, {}, values), deferred=deferred)


def _can_merge(hoisted: Iterable[Expr]) -> bool:
    """Whether hoisted values are sums of products, which a step can do as well."""
    parts = stages(hoisted)
    return len(parts) == 1 and not any(isinstance(n, ROWS) for n in parts[0].nodes())
