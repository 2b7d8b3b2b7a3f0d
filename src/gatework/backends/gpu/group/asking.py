"""What the form `group` asks of a plan: what blocks exchange, what they sum, what threads keep.

Each thread has some units of some sequences and computes a step stage by stage, unit by unit. What
a stage reads of whole rows must come from other threads first, in one *exchange*:

    operands   rows that matrices multiply, sent in the call's element
    partials   sums or maxima over the units of a row, of which each tile sends its own, in float32

A stage never reads a row that is older than the stage before it, so its exchange is sent at the end
of that stage; that of the first stage reads the states, and is sent at the end of the step before.
Everything else stays with its thread: states, values for later stages, learned vectors. Single
numbers, of size "1", are computed by every thread alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gatework.backends.gpu.loop import Refused
from gatework.compiler.passes import Lowered, Pass, Sum
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import stepping
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Expr, Matrix, Product, Reduce, Symbol

Partial = Reduce | Product  # a product with a matrix of one row, or one column if transposed


@dataclass(frozen=True)
class Exchange:
    """The rows that a stage reads whole.

    Attributes:
        operands: The rows that matrices multiply.
        partials: What is summed over the units of rows, those of a size together.
    """

    operands: tuple[Expr, ...]
    partials: tuple[Partial, ...]

    def of_size(self, size: str) -> tuple[Partial, ...]:
        """The partials of rows of a size."""
        return tuple(p for p in self.partials if p.args[0].size == size)

    def partial_sizes(self) -> tuple[str, ...]:
        """The sizes of the rows that partials are of."""
        return tuple(dict.fromkeys(p.args[0].size for p in self.partials))

    def sizes(self) -> set[str]:
        """The sizes of all rows."""
        return {v.size for v in self.operands} | set(self.partial_sizes())


@dataclass(frozen=True)
class Phase:
    """A stage, and what it waits for.

    Attributes:
        stage: The stage.
        exchange: The rows that it reads whole; None if it reads none.
        sums: The accumulators of products with matrices.
    """

    stage: Lowered
    exchange: Exchange | None
    sums: tuple[Sum, ...]

    def matrices(self, one: Sum) -> tuple[Product, ...]:
        """The products of an accumulator that tiles compute."""
        return tuple(p for p in one.products if is_matrix(p))

    def scaled(self) -> tuple[Product, ...]:
        """The products of single numbers, which are computed unit by unit."""
        return tuple(p for p in self.stage.products() if is_scaled(p))


@dataclass(frozen=True)
class Asked:
    """What a plan asks.

    Attributes:
        plan: The plan.
        step: The pass of a step.
        phases: Its stages.
        aliases: Written sequences that are slots of a state: see `Stepping`.
        kept: What a thread keeps for later stages: sizes of values, by the argument of their place.
        sequences: The sequences that are read.
        constants: The rows that are the same at each step.
        vectors: Learned vectors, and matrices of one row or column, which are vectors as well.
    """

    plan: Plan
    step: Pass
    phases: tuple[Phase, ...]
    aliases: Mapping[str, tuple[str, bool]]
    kept: Mapping[str, str]
    sequences: tuple[Symbol, ...]
    constants: tuple[Symbol, ...]
    vectors: tuple[Symbol | Matrix, ...]

    @property
    def exchanges(self) -> tuple[int, ...]:
        """The phases that wait for an exchange."""
        return tuple(k for k, p in enumerate(self.phases) if p.exchange)

    @property
    def first(self) -> bool:
        """Whether a step begins with an exchange of what is there before it."""
        return bool(self.phases) and self.phases[0].exchange is not None

    @property
    def scatters(self) -> bool:
        """Whether partial sums could be sent in place of operands: there is one sum in all."""
        found = [p for p in self.phases if p.exchange]
        if self.first or len(found) != 1 or len(self.sizes()) != 1:
            return False
        (phase,) = found
        return len(phase.sums) == 1 and phase.exchange is not None and not phase.exchange.partials

    def sizes(self) -> tuple[str, ...]:
        """The sizes of all rows but single numbers."""
        works = (w.size for p in self.phases for w in p.stage.works)
        rows = (r.size for p in self.phases if p.exchange for r in p.exchange.operands)
        sums = (s for p in self.phases if p.exchange for s in p.exchange.partial_sizes())
        leaves = (s.size for s in (*self.plan.recurrence.states, *self.sequences, *self.constants))
        found = dict.fromkeys((*works, *rows, *sums, *leaves))
        return tuple(size for size in found if size != SCALAR)


def is_maximum(partial: Partial) -> bool:
    """Whether a partial is a maximum; else it is a sum."""
    return isinstance(partial, Reduce) and partial.function == "max"


def is_scaled(product: Product) -> bool:
    """Whether a matrix of one column, or row, multiplies a single number: no row is read whole."""
    return product.args[0].size == SCALAR


def is_matrix(product: Product) -> bool:
    """Whether a product is of matrices: neither scaled, nor a sum over one row's units."""
    return product.size != SCALAR and not is_scaled(product)


def ask(plan: Plan, aliases: Mapping[str, tuple[str, bool]]) -> Asked:
    """What a plan asks, where some written sequences are slots of states.

    Raises:
        Refused: If it asks what a group of blocks cannot do.

    Example:
        >>> from gatework import cells
        >>> from gatework.compiler.program import program
        >>> asked = ask(program(cells.lstm).forward, {})
        >>> [(str(p.exchange.operands), len(p.sums)) for p in asked.phases]
        [('(h,)', 4)]
    """
    step = _checked(plan, stepping(plan, aliases).step)
    phases = tuple(_phase(stage) for stage in step.stages)
    for k, phase in enumerate(phases):
        _check_rows(k, phase)
    return Asked(
        plan=plan,
        step=step,
        phases=phases,
        aliases=aliases,
        kept=_kept(phases),
        sequences=_read(phases, plan, "sequence"),
        constants=_read(phases, plan, "constant"),
        vectors=_vectors(phases, plan),
    )


def _checked(plan: Plan, step: Pass) -> Pass:
    """The pass, if it has nothing that a group of blocks cannot do."""
    reasons = {
        "its rows have several axes": plan.recurrence.has_axes,
        "it computes states of the forward pass again": bool(plan.replays),
        "it keeps few of its states": bool(plan.recurrence.marked),
        "it arranges the units of rows": any(s.arrangements for s in step.stages),
        "it has maps per head": any(w.per or w.folds for s in step.stages for w in s.works),
        "a matrix multiplies a constant": bool(step.numbers),
    }
    for reason, holds in reasons.items():
        if holds:
            raise Refused(reason)
    return step


def _check_rows(k: int, phase: Phase) -> None:
    """Raise if a row that is read whole is no value of the stage before, and no state."""
    rows = phase.stage.operands()
    if any(isinstance(r, Symbol) and r.role == "sequence" for r in rows):
        raise Refused("the loop reads a whole row of a sequence")
    if k and any(isinstance(r, Symbol) for r in rows):
        raise Refused("a later stage reads a whole row that was there before the step")


def _phase(stage: Lowered) -> Phase:
    """A stage with its exchange."""
    products = stage.products()
    operands = dict.fromkeys(p.args[0] for p in products if is_matrix(p))
    single = tuple(p for p in products if p.size == SCALAR and not is_scaled(p))
    reductions = tuple(r for r, _ in stage.reductions)
    partials: list[Partial] = [*reductions, *dict.fromkeys(single)]
    sizes = [*dict.fromkeys(p.args[0].size for p in partials)]
    exchange = Exchange(
        tuple(operands), tuple(sorted(partials, key=lambda p: sizes.index(p.args[0].size)))
    )
    sums = (s for w in stage.works for s in w.sums)
    summed = tuple(s for s in dict.fromkeys(sums) if any(map(is_matrix, s.products)))
    return Phase(stage, exchange if operands or exchange.partials else None, summed)


def _kept(phases: Iterable[Phase]) -> dict[str, str]:
    """The values of earlier stages that stages read, by the argument of their place."""
    found: dict[str, str] = {}
    for phase in phases:
        own = {v for w in phase.stage.works for v, _ in w.stores} | {*dict(phase.stage.rows())}
        read = {v: p for w in phase.stage.works for v, p in w.reads.items()}
        read |= {v: phase.stage.known[v] for p in phase.scaled() for v in p.args if v.args}
        found |= {p.argument: p.size for v, p in read.items() if v.args and v not in own}
    return found


def _leaves(phases: Iterable[Phase], plan: Plan) -> list[Expr]:
    """All that is read from outside the step."""
    stages = [p.stage for p in phases]
    read = [v for s in stages for w in s.works for v in w.reads]
    whole = [v for s in stages for v in s.operands()]
    return [v for v in dict.fromkeys((*read, *whole, *plan.next_states)) if isinstance(v, Symbol)]


def _read(phases: tuple[Phase, ...], plan: Plan, role: str) -> tuple[Symbol, ...]:
    found = _leaves(phases, plan)
    return tuple(v for v in found if isinstance(v, Symbol) and v.role == role)


def _vectors(phases: tuple[Phase, ...], plan: Plan) -> tuple[Symbol | Matrix, ...]:
    """The learned vectors, and the matrices that are vectors."""
    single = [p for k in phases if k.exchange for p in k.exchange.partials]
    products = [p for p in single if isinstance(p, Product)]
    scaled = [p for k in phases for p in k.scaled()]
    matrices = dict.fromkeys(p.matrix for p in (*products, *scaled))
    return (*_read(phases, plan, "parameter"), *matrices)
