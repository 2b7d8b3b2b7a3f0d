"""The least that a call must do, counted from the cell's plans.

Only matrix products count: multiplications and additions, and the bytes of weights that are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatework.bench.problem import Kind, Problem
from gatework.compiler.plan import Plan
from gatework.compiler.program import program
from gatework.lang.expressions import Expr, Matrix, Product, postorder
from gatework.lang.sizes import Sizes

__all__ = ["Cost", "cost_of"]

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """What one call costs.

    Attributes:
        flops: Floating-point operations of its matrix products.
        bytes: Weights read by it, those in the loop once a step.
        buffer: Bytes of the weights that are read again and again.
    """

    flops: int
    bytes: int
    buffer: int


def cost_of(problem: Problem, kind: Kind) -> Cost:
    """The cost of a call, or of one step of a stream."""
    made = program(problem.layer.cell)
    plans = (made.keeping, made.backward) if kind == "training" else (made.forward,)
    parts = [_cost(plan, problem, kind) for plan in plans]
    return Cost(
        sum(p.flops for p in parts), sum(p.bytes for p in parts), max(p.buffer for p in parts)
    )


def _cost(plan: Plan, problem: Problem, kind: Kind) -> Cost:
    layer, shape = problem.layer, problem.shape
    sizes = Sizes.of(layer.sizes(0))

    def numbers(matrices: Iterable[Matrix]) -> int:
        return sum(m.weights(sizes) for m in matrices)

    looped = _matrices(n for stage in plan.stages for n in stage.products)
    once = _matrices(postorder([*plan.hoisted.values(), *plan.deferred.values()]))
    summed = [c.matrix for c in plan.recurrence.contractions]
    steps = 1 if kind == "streaming" else shape.steps
    again = looped + once if kind == "streaming" else looped
    return Cost(
        2 * steps * shape.batch * numbers([*looped, *once, *summed]),
        FLOAT * (steps * numbers(set(looped)) + numbers({*once, *summed})),
        FLOAT * numbers(set(again)),
    )


def _matrices(nodes: Iterable[Expr]) -> list[Matrix]:
    return [n.matrix for n in nodes if isinstance(n, Product)]
