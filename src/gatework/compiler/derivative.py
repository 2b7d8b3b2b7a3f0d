"""The derivative of a recurrence: reverse mode on its expressions.

Given how a step computes its new states and outputs, `derive` gives the step that runs from the
last time to the first and computes the gradients. It is a recurrence again:

    its states     ∂L/∂s, the gradient of each forward state s, named `d_s`
    it reads       the gradient of each forward output y, `d_y`, and what the forward pass kept
    it writes      the gradient of each input, and of the result of each product
    afterwards     the gradients of matrices and learned vectors, from whole sequences

What the forward pass must keep is chosen here as well: see `Kept`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

from gatework.analysis.calculus import added, passed_on
from gatework.compiler.recurrence import Contraction, Recurrence, Summation
from gatework.lang.axes import has_axes, slots, within
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
from gatework.lang.functions import FUNCTIONS, JUMPS


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


def adjoint(name: str) -> str:
    """The name of the gradient of a named row."""
    return f"d_{name}"


def derive(forward: Recurrence, wrt: tuple[Symbol, ...]) -> Derivative:
    """The backward recurrence of a forward one.

    Args:
        forward: The recurrence to differentiate.
        wrt: The read rows whose gradient is wanted, at each step; that of the states and of the
            parameters always is.

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
    backward = Recurrence(
        sequences=(*gradients.read, *kept.sequences()),
        constants=forward.constants,
        states=gradients.states,
        next_states=rewritten[: len(forward.states)],
        outputs=dict(zip(outputs.values, rewritten[len(forward.states) :], strict=True)),
        parameters=forward.parameters,
        contractions=tuple(contractions),
        summations=tuple(summations),
    )
    return Derivative(
        forward=replace(forward, outputs={**forward.outputs, **kept.written()}),
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
    read = set(postorder(recurrence.results()))
    read_later = {name for c in recurrence.contractions for name in (c.left, c.right)}
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


class Kept:
    """Chooses which forward values the backward pass reads back, and which it computes again.

    Read back: the states before and after the step, whatever comes out of a product or a
    reduction before the next non-linear function, that function's result, the rows that products
    read, and what was decided about computed values. Computed again: what arithmetic or one
    function of kept values gives, and rows that are read back in another order; a computed row
    would have to be complete first.

    What is computed again may be rounded otherwise, where machine code adds a product in one step.
    That changes a number in its last bit, but a decision, as that of `v < amax(v)`, to its
    opposite.
    """

    def __init__(self, forward: Recurrence) -> None:
        self.forward = forward
        self.inside = set(postorder(forward.results()))
        self.new = {v: s.name for s, v in zip(forward.states, forward.next_states, strict=True)}
        self.outputs = {v: n for n, v in forward.outputs.items()}
        self.names: dict[Expr, str] = {}  # kept value -> name
        self.operands: set[Expr] = set()  # rows that are read as they were, to the last bit
        self.raw: dict[Expr, bool] = {}
        self.following: dict[Expr, bool] = {}  # with the names that there are now
        self.expressed: dict[Expr, Expr] = {}
        self.numbers = count()  # a spared value's number is not given again

    def sequences(self) -> tuple[Symbol, ...]:
        """Everything the backward step may read, as sequences."""
        kept = [symbol(n, "sequence", v.size) for v, n in self.names.items()]
        return (*self.forward.sequences, *kept)

    def written(self) -> dict[str, Expr]:
        """What the forward step writes for it."""
        return {n: v for v, n in self.names.items()}

    def sequence(self, row: Expr) -> Symbol:
        """A row as a sequence: a product reads it, for its matrix, or it is compared.

        What is compared with its own largest number must be what that was taken from: else no
        unit, or another one, may be the largest.
        """
        self.operands.add(row)
        self.following.clear()
        if isinstance(row, Symbol) and row.role == "sequence":
            return row
        return self._keep(row)

    def rewrite(self, roots: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The roots with forward values replaced by what is read back."""
        self._rewritten(roots)  # once to see what is needed, once without what can be spared
        for node in [n for n in self.names if self._can_be_spared(n)]:
            del self.names[node]
            self.raw[node] = False
        self.following.clear()
        return self._rewritten(roots)

    def _rewritten(self, roots: tuple[Expr, ...]) -> tuple[Expr, ...]:
        done: dict[Expr, Expr] = {}
        self.expressed.clear()
        for node in postorder(roots, until=self.inside):
            if node in self.inside:
                done[node] = self._expressed(node)
            else:
                done[node] = node.rebuilt(tuple(done[a] for a in node.args))
        return tuple(done[r] for r in roots)

    def _expressed(self, node: Expr) -> Expr:
        """A forward value in terms of what is read back."""
        if node not in self.expressed:
            self.expressed[node] = self._read_or_computed(node)
        return self.expressed[node]

    def _read_or_computed(self, node: Expr) -> Expr:
        if isinstance(node, Const | Count):
            return node
        if isinstance(node, Symbol):
            return self._leaf(node)
        if node in self.new or node in self.names or self._is_raw(node) or self._decides(node):
            return self._keep(node)
        if isinstance(node, Arrange):
            return node.rebuilt(tuple(self._expressed(a) for a in node.args))
        assert isinstance(node, Apply)
        if not FUNCTIONS[node.function].cheap and any(self._is_raw(a) for a in node.args):
            return self._keep(node)
        return node.rebuilt(tuple(self._expressed(a) for a in node.args))

    def _is_raw(self, node: Expr) -> bool:
        """Whether a product, a reduction or an arrangement reaches the value by arithmetic alone.

        An arrangement of rows that are read back anyway is arithmetic itself.
        """
        if node not in self.raw:
            computed = isinstance(node, Arrange) and not all(self._is_row(a) for a in node.args)
            self.raw[node] = (
                isinstance(node, Product | Reduce)
                or computed
                or (
                    _is_cheap(node)
                    and node not in self.new
                    and any(self._is_raw(a) for a in node.args if not _is_repeated(a, node))
                )
            )
        return self.raw[node]

    def _decides(self, node: Expr) -> bool:
        """Whether a value tells, of computed ones, on which side of a jump they are."""
        decides = isinstance(node, Apply) and node.function in JUMPS
        return decides and any(a.args and a not in self.new for a in node.args)

    def _is_row(self, node: Expr) -> bool:
        """Whether a value is a complete row before a backward step begins."""
        if isinstance(node, Symbol | Const) or node in self.new:
            return True
        return node in self.names and not self._can_be_spared(node)

    def _can_be_spared(self, node: Expr) -> bool:
        """Whether arithmetic on other kept values gives a kept value."""
        if node in self.new or node in self.operands:
            return False
        return self._follows(node)

    def _follows(self, node: Expr) -> bool:
        """Whether a value can be computed again without a row that is not there."""
        if node not in self.following:
            rows = not isinstance(node, Arrange) or all(self._is_row(a) for a in node.args)
            again = _is_cheap(node) or isinstance(node, Arrange)
            again = again and rows and not self._decides(node)
            self.following[node] = again and all(map(self._is_available, node.args))
        return self.following[node]

    def _is_available(self, node: Expr) -> bool:
        if isinstance(node, Symbol):
            return node.role != "state" or node in self.names
        if node in self.names or isinstance(node, Const | Count):
            return True
        return self._follows(node)

    def _leaf(self, node: Symbol) -> Symbol:
        return self._keep(node) if node.role == "state" else node

    def _keep(self, node: Expr) -> Symbol:
        """The sequence in which a forward value is read back."""
        if node not in self.names:
            self.names[node] = self._name(node)
            self.following.clear()
        return symbol(self.names[node], "sequence", node.size)

    def _name(self, node: Expr) -> str:
        if isinstance(node, Symbol):
            wish = f"{'previous' if node.role == 'state' else 'each'}_{node.name}"
        else:
            wish = self.new.get(node) or self.outputs.get(node) or self.forward.labels.get(node, "")
        if wish in self.forward.outputs:  # which are handed out, and may be changed
            wish = f"kept_{wish}"
        sequences = {s.name for s in self.forward.sequences}
        taken = {*sequences, *self.forward.outputs, *self.names.values()}
        while not wish or wish in taken or wish.startswith(adjoint("")):
            wish = f"kept{next(self.numbers)}"
        return wish


def _is_repeated(argument: Expr, node: Expr) -> bool:
    """Whether an argument lacks axes of the result, which is then dearer to keep than it is."""
    return has_axes(node.size) and argument.size != node.size


def _is_cheap(node: Expr) -> bool:
    return isinstance(node, Apply) and FUNCTIONS[node.function].cheap
