"""The derivative of a recurrence: reverse mode on its expressions.

Given how a step computes its new states and outputs, `derive` gives the step that runs from the
last time to the first and computes the gradients. It is a recurrence again:

    its states     ∂L/∂s, the gradient of each forward state s, named `d_s`
    it reads       the gradient of each forward output y, `d_y`, and what the forward pass kept
    it writes      the gradient of each input, and of the result of each product
    afterwards     the gradients of matrices and learned vectors, from whole sequences

What the forward pass must keep is chosen in `gatework.compiler.kept`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gatework.analysis.calculus import added, passed_on
from gatework.compiler.kept import Kept
from gatework.compiler.recurrence import Contraction, Recurrence, Summation, adjoint
from gatework.compiler.summing import fewer_operations
from gatework.lang.axes import slots, within
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Symbol,
    apply,
    arrange,
    const,
    expand,
    postorder,
    product,
    reduce,
    symbol,
)


@dataclass(frozen=True, eq=False)
class Derivative:
    """A backward recurrence and what its forward must keep for it.

    Attributes:
        forward: The forward recurrence, which now also writes what is kept.
        backward: The derived recurrence.
        kept: The names of the kept values; `previous_h` is the state h before the step.
    """

    forward: Recurrence
    backward: Recurrence
    kept: tuple[str, ...]


def derive(forward: Recurrence, wrt: tuple[Symbol, ...], marking: bool = False) -> Derivative:
    """The backward recurrence of a forward one.

    Args:
        forward: The recurrence to differentiate.
        wrt: The read rows whose gradient is wanted, at each step; that of the states and of the
            parameters always is.
        marking: Whether long states are marked, where that is possible, and not kept at every step.

    Example:
        >>> from gatework import cells
        >>> from gatework.compiler.recurrence import of_cell
        >>> derive(of_cell(cells.rnn), wrt=(cells.rnn.input,)).kept
        ('previous_h', 'kept_h')
    """
    gradients = _Gradients(forward)
    kept = Kept(forward)
    outputs = _Outputs({adjoint(s.name): gradients.of(s) for s in wrt})
    contractions = []
    for node, g in gradients.of_products():
        row = kept.sequence(node.args[0]).name
        left = outputs.name_of(g, f"d_{node.matrix.group}.{node.matrix.gate}")
        pair = (row, left) if node.transposed else (left, row)
        contractions.append(Contraction(node.matrix, *pair))
    summations = [
        Summation(p, outputs.name_of(gradients.of(p), adjoint(p.name)))
        for p in gradients.parameters()
    ]
    for compared in gradients.compared:
        kept.sequence(compared)
    results = (*(gradients.of(s) for s in forward.states), *outputs.values.values())
    rewritten = kept.rewrite(results)
    replays = kept.replays() if marking else ()
    rewritten = fewer_operations(kept.replayed(rewritten, replays), len(forward.states))
    marked = frozenset(r.marks for r in replays)
    backward = Recurrence(
        sequences=(*gradients.read, *kept.sequences()),
        constants=forward.constants,
        states=gradients.states,
        next_states=rewritten[: len(forward.states)],
        outputs=dict(zip(outputs.values, rewritten[len(forward.states) :], strict=True)),
        parameters=forward.parameters,
        contractions=tuple(contractions),
        summations=tuple(summations),
        marked=marked,
        replays=replays,
    )
    return Derivative(
        forward=replace(forward, outputs={**forward.outputs, **kept.written()}, marked=marked),
        backward=_only_read(backward),
        kept=tuple(kept.names.values()),
    )


class _Outputs:
    """What the backward step writes; equal gradients are written once."""

    def __init__(self, values: dict[str, Expr]) -> None:
        self.values = values
        self.names: dict[Expr, str] = {}

    def name_of(self, value: Expr, wish: str) -> str:
        """The name under which a gradient is written."""
        if value not in self.names:
            taken = [name for name in self.values if name.split("#")[0] == wish]
            self.names[value] = f"{wish}#{len(taken)}" if taken else wish
        name = self.names[value]
        self.values[name] = value
        return name


def _only_read(recurrence: Recurrence) -> Recurrence:
    """The recurrence without the sequences and constants that nothing reads."""
    read = set(postorder(recurrence.computed()))
    read_later = {name for c in recurrence.contractions for name in (c.left, c.right)}
    read_later |= recurrence.marked
    return replace(
        recurrence,
        sequences=tuple(s for s in recurrence.sequences if s in read or s.name in read_later),
        constants=tuple(s for s in recurrence.constants if s in read),
    )


class _Gradients:
    """∂L/∂v for every value v of a step, by one sweep from results to arguments."""

    def __init__(self, forward: Recurrence) -> None:
        self.states = tuple(symbol(adjoint(s.name), "state", s.size) for s in forward.states)
        self.read = tuple(
            symbol(f"d_out_{n}", "sequence", v.size) for n, v in forward.outputs.items()
        )
        self.nodes = tuple(postorder(forward.results()))
        self.sums: dict[Expr, Expr] = {}
        self.compared: list[Expr] = []  # rows whose largest number has a gradient
        for value, g in zip(forward.results(), (*self.states, *self.read), strict=True):
            self._add(value, g)
        for node in reversed(self.nodes):
            if node in self.sums:
                self._pass_on(node, self.sums[node])

    def has(self, value: Expr) -> bool:
        """Whether anything depends on the value."""
        return value in self.sums

    def of(self, value: Expr) -> Expr:
        """∂L/∂value."""
        return self.sums.get(value, const(0, value.size))

    def of_products(self) -> list[tuple[Product, Expr]]:
        """Each product with the gradient of its result."""
        return [(n, self.of(n)) for n in self.nodes if isinstance(n, Product) and self.has(n)]

    def parameters(self) -> list[Symbol]:
        """The learned vectors that anything depends on."""
        return [
            n for n in self.nodes if isinstance(n, Symbol) and n.role == "parameter" and self.has(n)
        ]

    def _add(self, value: Expr, g: Expr) -> None:
        if isinstance(value, Const | Count):
            return
        if not within(g.size, value.size):
            g = reduce("sum", g, value.size)  # the value was repeated: every copy has its own
        g = expand(g, value.size)
        self.sums[value] = added(self.sums[value], g) if value in self.sums else g

    def _pass_on(self, node: Expr, g: Expr) -> None:
        if isinstance(node, Apply):
            for argument, part in zip(node.args, passed_on(node, g), strict=True):
                if part is not None:
                    self._add(argument, expand(part, node.size))
        elif isinstance(node, Product):
            self._add(node.args[0], product(node.matrix, g, not node.transposed))
        elif isinstance(node, Reduce):
            row = node.args[0]
            if node.function == "sum":
                self._add(row, g)
            else:  # of equal largest ones each gets its part, as torch.amax has it
                self.compared.append(row)
                others = reduce("sum", apply("where", row < node, 0, 1), node.size)
                self._add(row, apply("where", row < node, 0, g / others))
        elif isinstance(node, Arrange):
            for row, part in zip(node.args, _rearranged(node, g), strict=True):
                self._add(row, part)


def _rearranged(node: Arrange, g: Expr) -> tuple[Expr, ...]:
    """∂L/∂row for each row of an arrangement, from g = ∂L/∂node: each unit goes back to its own."""
    kind, size, details, axis = node.kind, node.args[0].size, node.details, node.axis
    match kind:
        case "roll" | "shift":
            return (arrange(kind, [g], (-details[0],), size, axis),)
        case "flip":
            return (arrange("flip", [g], (), size, axis),)
        case "cumsum":
            return (arrange("cumsum", [g], (not details[0],), size, axis),)
        case "take":
            return (arrange("index_add", [g], details, size, axis),)
        case "index_add":
            return (arrange("take", [g], details, size, axis),)
        case "rename":
            (places,) = details
            back = (places.index(k) if k in places else -1 for k in range(len(slots(size))))
            return (arrange("rename", [g], (tuple(back),), size),)
        case "part":
            return (arrange("cat", [g], details[:1], size, axis),)
        case "cat":
            return tuple(
                arrange("part", [g], (start, node.length()), row.size, axis)
                for row, start in zip(node.args, details, strict=True)
            )
