"""`explain`: a cell's equations, its derived backward equations, its plan and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Protocol

from gatework.compiler.plan import Plan
from gatework.compiler.program import Program, program, worth_marking
from gatework.compiler.recurrence import STRETCH, Recurrence
from gatework.forking import cached_property
from gatework.lang.definition import Cell, block_of, check_known
from gatework.lang.expressions import Apply, Matrix, Product, Role, postorder
from gatework.lang.printing import definitions, equations, text, used_often
from gatework.lang.sizes import Sizes
from gatework.show import cell_svg


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; printed as text, shown in a notebook with a picture of the data flow.

    Attributes:
        cell: The cell.
        title: The cell's name and documentation.
        equations: The equations of one step.
        latex: The same in LaTeX, an equation each.
        backward: The derived backward equations.
        plan: The order of the work, forward and backward.
        cost: Parameters, flops and bytes for the sizes asked for.
        backend: Of a layer, what runs it and why.
    """

    cell: Cell
    title: str
    equations: tuple[str, ...]
    latex: tuple[str, ...]
    backward: tuple[str, ...]
    plan: tuple[str, ...]
    cost: tuple[str, ...]
    backend: tuple[str, ...] = ()

    def __str__(self) -> str:
        sections = {
            "Equations": self.equations,
            "Backward equations, from the last step to the first": self.backward,
            "Plan": self.plan,
            "Cost": self.cost,
            "Backend": self.backend,
        }
        parts = [f"{heading}\n{_indented(lines)}" for heading, lines in sections.items() if lines]
        return "\n\n".join([self.title, *parts])

    __repr__ = __str__

    @cached_property
    def svg(self) -> str:
        """The data flow of one step as an SVG picture: gates marked, the memory's path thick."""
        return cell_svg(self.cell)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f"{self.svg}<pre>{escape(str(self))}</pre>"


class Explainable(Protocol):
    """What explains itself: a layer."""

    def explain(self, **call: int) -> Explanation:
        """The explanation; of a call of so many `steps` and `batch_size`, where it matters."""


def explain(
    cell: Cell | Explainable, input_size: int = 128, hidden_size: int = 128, **sizes: int
) -> Explanation:
    """Explain a cell: its equations, their derivative, the plan and the cost of a step.

    Of a layer, it also says which backend runs it and why. Sizes are the layer's then, and `steps=`
    and `batch_size=` may be given, of the calls that are meant.

    Args:
        cell: A cell, pinned or not, or a layer.
        input_size: The input size for which the cost is given.
        hidden_size: The hidden size for which the cost is given.
        sizes: Other sizes that the cell names; half the hidden size unless given, or
            what a layer takes for the length of an axis.

    Example:
        >>> from gatework import cells, explain
        >>> print("\\n".join(explain(cells.rnn).equations))
        h' = tanh(W_ih[h]·x + bias_ih.h + W_hh[h]·h + bias_hh.h)
    """
    if not isinstance(cell, Cell):
        if not hasattr(cell, "explain"):
            raise TypeError(f"explain expects a cell or a layer, got {type(cell).__name__}")
        return cell.explain(**sizes)
    check_known("size", sizes, cell.size_names(), f"cell {cell.name!r}")
    for name, value in {"input_size": input_size, "hidden_size": hidden_size, **sizes}.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"{name} should be a positive int, got {value!r}")
    others = cell.usual_sizes(hidden_size, sizes)
    hidden = {"hidden": hidden_size} if cell.has_hidden_size() else {}
    known = Sizes.of({"1": 1, "input": input_size, **hidden, **others})
    made = program(cell)
    return Explanation(
        cell=cell,
        title=f"{cell.name}: {cell.doc}" if cell.doc else cell.name,
        equations=tuple(equations(cell)),
        latex=tuple(equations(cell, as_latex=True)),
        backward=tuple(_backward(made.derivative.backward)),
        plan=tuple(_plans(cell, made)),
        cost=tuple(_cost(cell, made, known)),
    )


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


# ---- backward ----------------------------------------------------------------------------------


def _backward(recurrence: Recurrence) -> list[str]:
    """The backward step, with a name for what is used more than once, and the sums after it."""
    named = dict(recurrence.outputs)
    shared = used_often(recurrence.results(), set(named.values()))
    pairs = [(f"v{k}", node) for k, node in enumerate(shared)]
    after = {
        f"{s.name}'": v for s, v in zip(recurrence.states, recurrence.next_states, strict=True)
    }
    lines = definitions([*pairs, *named.items(), *after.items()])
    lines += [
        f"d_weight_{c.matrix.group}[{_block(c.matrix)}] = Σ {c.left} ⊗ {c.right}"
        for c in recurrence.contractions
    ]
    return lines + [f"d_{s.parameter.name} = Σ {s.sequence}" for s in recurrence.summations]


def _block(matrix: Matrix) -> str:
    return matrix.gate if matrix.per is None else f"{matrix.gate}, per {matrix.per}"


# ---- plan --------------------------------------------------------------------------------------


def _plans(cell: Cell, made: Program) -> list[str]:
    derivative = made.derivative
    named = {v: n for n, v in cell.names.items() if v.args}
    kept = {n: derivative.forward.outputs[n] for n in derivative.kept}
    unnamed = [(n, v) for n, v in kept.items() if v not in named and v not in cell.states]
    known = {**named, **{v: n for n, v in unnamed}}
    return [
        *_drawn(cell),
        "forward",
        *(f"  {line}" for line in describe(made.forward)),
        f"  kept for the backward pass: {', '.join(kept)}",
        *(
            f"    {n} = {text(v, {k: m for k, m in known.items() if k is not v})}"
            for n, v in unnamed
        ),
        "backward",
        *(f"  {line}" for line in describe(made.backward)),
    ]


def _drawn(cell: Cell) -> list[str]:
    """What is drawn in training mode before a call."""
    often: dict[Role, str] = {"sequence": "step and sequence", "constant": "sequence"}
    rows = (
        f"  {n.symbol.name}: 1 with probability {n.probability:g}, else 0, for each unit of each "
        f"{often[n.symbol.role]}"
        for n in cell.noises
    )
    weights = (
        f"  {d.parameter} of {', '.join(d.blocks)}: elements dropped with probability "
        f"{d.probability:g}, for each call"
        for d in cell.weight_drops
    )
    lines = [*rows, *weights]
    return ["drawn in training mode", *lines] if lines else []


def describe(plan: Plan) -> list[str]:
    """A plan in lines: before the loop, each stage of a step, after the loop."""
    before = [f"before the loop: {n} = {text(v)}" for n, v in plan.hoisted.items()]
    names = {v: n for n, v in plan.written.items() if v.args}
    stages = []
    for k, stage in enumerate(plan.stages, 1):
        work = [text(n, names) for n in stage.products]
        work += [f"{len(stage.reductions)} reductions"] if stage.reductions else []
        work += [f"{len(stage.arrangements)} arranged rows"] if stage.arrangements else []
        work += [f"{len(stage.values)} pointwise"] if stage.values else []
        stages.append(f"stage {k} of {len(plan.stages)}: {', '.join(work)}")
    recurrence = plan.recurrence
    own = {n: v for n, v in plan.written.items() if n not in recurrence.outputs}
    stages += [f"written for what follows: {n} = {text(v)}" for n, v in own.items()]
    after = [f"after the loop: {n} = {text(v)}" for n, v in plan.deferred.items()]
    sums = len(recurrence.contractions), len(recurrence.summations)
    if any(sums):
        after.append(f"after the loop: gradients of {sums[0]} matrices and {sums[1]} vectors")
    return [*before, *stages, *after]


# ---- cost --------------------------------------------------------------------------------------


def _cost(cell: Cell, made: Program, sizes: Sizes) -> list[str]:
    try:
        cell.check_sizes(sizes)
    except ValueError as error:  # the sizes may be those that stand in for what is not given
        return [f"not known: {error}"]
    parameters, known = (
        sum(_numbers(p.shape(sizes)) for p in cell.parameters if p.learned is learned)
        for learned in (True, False)
    )
    forward = _flops(made.forward.recurrence, sizes)
    backward = _flops(made.derivative.backward, sizes) + _contraction_flops(cell, made, sizes)
    derivative = program(cell, marking=worth_marking(cell, sizes)).derivative
    kept = sum(
        sizes[v.size] // (STRETCH if n in derivative.forward.marked else 1)
        for n, v in derivative.forward.outputs.items()
        if n in derivative.kept
    )
    shown = ", ".join(f"{n} {v}" for n, v in sizes.items() if n != "1")
    return [
        f"sizes: {shown}",
        f"parameters: {parameters:,} ({4 * parameters:,} bytes in float32)",
        *([f"known numbers: {known:,} ({4 * known:,} bytes in float32)"] if known else []),
        f"forward: {forward:,} flops a step of one sequence",
        f"backward: {backward:,} flops a step of one sequence",
        f"kept: {4 * kept:,} bytes a step of one sequence in float32",
    ]


def _numbers(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def _flops(recurrence: Recurrence, sizes: Mapping[str, int]) -> int:
    """Two for each weight of a product, one for each unit of a pointwise function."""
    total = 0
    for node in postorder(recurrence.results()):
        if isinstance(node, Product):
            total += 2 * node.matrix.weights(sizes)
        elif isinstance(node, Apply):
            total += sizes[node.size]
    return total


def _contraction_flops(cell: Cell, made: Program, sizes: Mapping[str, int]) -> int:
    learned = {p.name for p in cell.parameters if p.learned}
    found = (c.matrix for c in made.derivative.backward.contractions)
    matrices = (m for m in found if block_of(m)[0] in learned)
    return sum(2 * m.weights(sizes) for m in matrices)
